"""Links to hardware: the only modules that touch the libraries of Bluetooth, serial, cameras."""
