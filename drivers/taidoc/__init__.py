"""TaiDoc and FORA devices that are asked with eight octets: pressure, oximetry, temperature."""
