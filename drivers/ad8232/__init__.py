"""SparkFun's AD8232 board behind an Arduino: one number a line. A bench input, not for patients."""
