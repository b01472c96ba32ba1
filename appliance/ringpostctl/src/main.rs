//! `ringpostctl`: the operator's tool. Everything it does is in the library, for `ringpostd` answers to the same name.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    ringpostctl::command::main()
}
