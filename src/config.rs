//! The configuration: the only reader of configuration files and the environment.
