use clap::Args;

/// The compiling child of a worker: untrusted bytes meet the compiler here, under limits.
#[derive(Args, Debug)]
pub(crate) struct CompileBundle {}

impl CompileBundle {
    pub(crate) fn run(self) -> std::process::ExitCode {
        grid_sandbox::compile_child_main()
    }
}
