//! Errors of the process: one line that says what to do, and the exit code.
