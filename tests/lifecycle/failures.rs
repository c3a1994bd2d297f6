//! Builds that fail: what the status says is the cause.

use elpio_cluster::{
    buildpacks::{Builder, registry::Registry},
    progress::print,
};

use crate::build::Build;

async fn failed(builder: impl FnOnce(&Registry) -> Builder) -> (String, String) {
    let registry = Registry::start("user", "password-canary").await;
    let mut build = Build::new(&registry, builder(&registry));
    let ended = tokio::task::block_in_place(|| build.fail());
    print(format_args!("  {}", ended.0));
    ended
}

fn run_image(registry: &Registry) -> String {
    format!("{}/run", registry.host())
}

pub async fn a_builder_without_the_lifecycle_is_named() {
    let (message, printed) = failed(|_| Builder::empty()).await;
    assert_eq!(
        message,
        "step analyze: exit code 127: the builder has no program /cnb/lifecycle/analyzer: it must be a Cloud \
         Native Buildpacks builder"
    );
    assert!(printed.contains("elpio: the builder has no program /cnb/lifecycle/analyzer"), "{printed}");
}

pub async fn the_phases_exit_codes_become_messages() {
    for (detect, build, expected) in [
        ("exit 100", "exit 0", "step detect: exit code 20: no buildpack of the builder fits the source"),
        (
            "exit 1",
            "exit 0",
            "step detect: exit code 21: no buildpack of the builder fits the source, and some",
        ),
        ("exit 0", "echo canary-of-the-log; exit 7", "step build: exit code 51: a buildpack failed to build"),
    ] {
        let script = |text: &str| format!("#!/bin/sh\n{text}\n");
        let (message, printed) =
            failed(|registry| Builder::new(&run_image(registry), &script(detect), &script(build))).await;
        assert!(message.starts_with(expected), "{message}\n{printed}");
        assert_eq!(printed.contains("canary-of-the-log"), build.contains("canary"), "its log is passed on");
    }
}

pub async fn a_registry_that_refuses_is_the_cause() {
    let registry = Registry::start("user", "password-canary").await;
    let other = Registry::start("user", "another-canary").await;
    let mut build = Build::new(&registry, Builder::new(&run_image(&registry), "#!/bin/sh\n", "#!/bin/sh\n"));
    // Right for the host, wrong for the registry.
    let wrong = other.docker_config().replace(&other.host(), &registry.host());
    std::fs::write(build.path("registry/config.json"), wrong).unwrap();
    let (message, printed) = tokio::task::block_in_place(|| build.fail());
    print(format_args!("  {message}"));
    assert!(message.starts_with("step analyze: exit code "), "{message}\n{printed}");
    assert!(message.contains(&registry.host()) && message.contains("401"), "{message}\n{printed}");
    assert!(!message.contains("canary") && !printed.contains("canary"), "{message}\n{printed}");
    assert!(registry.refused() > 0);
}
