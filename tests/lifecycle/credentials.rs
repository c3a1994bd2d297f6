//! An image is pushed with credentials that the code of buildpacks never sees.

use std::fs;

use elpio_cluster::{
    buildpacks::{Builder, registry::Registry},
    progress::print,
    suite::StepTimer,
};
use elpio_operator::foreign::ChildKind;
use serde_json::json;

use crate::build::{Build, IMAGE, STEPS};

/// Writes the environment, and every file that can be read outside of the machine's own folders and the
/// lifecycle's programs, into a file.
const DUMP: &str = r#"dump() {
  { env; cat /proc/self/environ
    find / \( -path /usr -o -path /bin -o -path /sbin -o -path /lib -o -path /lib64 -o -path /proc -o -path /dev -o -path /cnb/lifecycle -o -path "$1" \) \
      -prune -o -type f -exec printf '\n%s\n' {} \; -exec cat -- {} \;
  } >"$1" 2>/dev/null || true
}
"#;

/// Where the two scripts of the buildpack write what they see.
const DUMPS: [&str; 2] = ["home/detect.dump", "layers/test_dump/seen/build.dump"];

fn builder(registry: &Registry) -> Builder {
    let detect = format!("#!/bin/sh\n{DUMP}dump /tekton/home/detect.dump\n");
    let build = format!(
        "#!/bin/sh\n{DUMP}mkdir -p \"$CNB_LAYERS_DIR/seen\"\nprintf '[types]\\nlaunch = true\\n' >\"$CNB_LAYERS_DIR/seen.toml\"\n\
         dump \"$CNB_LAYERS_DIR/seen/build.dump\"\n"
    );
    Builder::new(&format!("{}/run", registry.host()), &detect, &build)
}

async fn registry() -> Registry {
    Registry::start("canary-user-5f1e", "canary-password-77aa").await
}

fn hits(content: &[u8], secret: &str) -> usize {
    String::from_utf8_lossy(content).matches(secret).count()
}

/// How often each form of the credentials is in what the buildpack saw.
fn found(build: &Build, registry: &Registry) -> usize {
    let mut sum = 0;
    for dump in DUMPS {
        let content = fs::read(build.path(dump)).unwrap_or_else(|error| panic!("{dump}: {error}"));
        let files = content.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"/")).count();
        // What has to be there where the search is no illusion.
        for there in ["CNB_STACK_ID=", "/workspace/source/app/app.txt", "web: cat app.txt"] {
            assert!(hits(&content, there) > 0, "{there} is not in {dump}");
        }
        let of_secrets: Vec<_> = registry.secrets().iter().map(|secret| hits(&content, secret)).collect();
        print(format_args!(
            "  {dump}: {} bytes of {files} files and the environment; user, password and their three base64 forms: {of_secrets:?}",
            content.len()
        ));
        sum += of_secrets.iter().sum::<usize>();
    }
    sum
}

pub async fn an_image_is_pushed_and_no_buildpack_finds_a_credential() {
    let registry = registry().await;
    let mut clock = StepTimer::start("an_image_is_pushed_and_no_buildpack_finds_a_credential");
    let mut build = Build::new(&registry, builder(&registry));
    let printed = tokio::task::block_in_place(|| build.succeed());
    clock.step("built and pushed");
    let first = registry.digest_of(IMAGE, "v1").expect("the image is pushed");
    assert_eq!(build.reported(), first, "the digest that is reported is the registry's");
    assert_eq!(found(&build, &registry), 0);
    for secret in registry.secrets() {
        let images = registry.contents().iter().map(|content| hits(content, &secret)).sum::<usize>();
        assert_eq!((images, hits(printed.as_bytes(), &secret)), (0, 0), "in the image, in the log");
    }
    print(format_args!(
        "  the registry has {} manifests and blobs, none with a credential",
        registry.contents().len()
    ));

    build.commit("two");
    tokio::task::block_in_place(|| build.succeed());
    clock.step("rebuilt and pushed");
    let second = registry.digest_of(IMAGE, "v1").unwrap();
    assert_ne!(second, first);
    assert_eq!(build.reported(), second);
    assert_eq!(found(&build, &registry), 0);
    let with_secret: Vec<_> =
        STEPS.into_iter().filter(|name| build.step(name).get("workspaces").is_some()).collect();
    assert_eq!(with_secret, ["analyze", "restore", "export"]);
    assert_eq!(build.run["kind"], ChildKind::PipelineRun.kind());
}

/// The search finds what is there.
pub async fn a_credential_that_is_mounted_where_buildpacks_run_is_found() {
    let registry = registry().await;
    let mut build = Build::new(&registry, builder(&registry));
    for step in ["detect", "build"] {
        build.step(step)["workspaces"] = json!([{"name": "registry", "mountPath": "/workspace/registry"}]);
    }
    tokio::task::block_in_place(|| build.succeed());
    assert!(found(&build, &registry) >= 6, "user, password and both, by each of the two scripts");
}
