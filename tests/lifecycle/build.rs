//! A rendered run whose steps are carried out one after the other. It judges nothing.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use elpio_cluster::{
    buildpacks::{
        Builder,
        registry::Registry,
        sandbox::{self, Ended, Mount},
    },
    process::TempDir,
};
use elpio_operator::{
    api::{self, ElpioFunctionSpec, label},
    foreign::ChildKind,
    render::{self, ChildId, Defaults, Owner, applied::LiveChildren, function::pipeline_run::CAUSE},
    status::build::failure_message,
};
use kube::core::DynamicObject;
use serde_json::{Value, json};

/// The steps in which buildpacks' code does not run are those of the registry.
pub const STEPS: [&str; 7] = ["fetch", "analyze", "detect", "restore", "build", "export", "digest"];

/// The image that is pushed, without the registry's host.
pub const IMAGE: &str = "shop/cart";

/// Where the source is, in the sandbox of the step that fetches it.
const REPOSITORY: &str = "/repository";

/// A folder for each volume of the build's pod, and the run that is carried out in them.
pub struct Build {
    dir: TempDir,
    pub builder: Builder,
    pub run: Value,
}

impl Build {
    /// A build of a repository with one file, to be pushed to this registry.
    pub fn new(registry: &Registry, builder: Builder) -> Self {
        let build = Self { dir: TempDir::new("build"), builder, run: rendered(registry) };
        fs::create_dir_all(build.path("registry")).unwrap();
        fs::write(build.path("registry/config.json"), registry.docker_config()).unwrap();
        build.commit("one");
        build
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// The volumes of another pod: all are empty.
    fn begin(&self) {
        for volume in ["source", "layers", "home", "results", "scripts", "workspace"] {
            let _ = fs::remove_dir_all(self.path(volume));
            fs::create_dir_all(self.path(volume)).unwrap();
        }
    }

    /// Commits a file with this text.
    pub fn commit(&self, text: &str) {
        let repository = self.path("repository");
        let is_new = !repository.exists();
        fs::create_dir_all(&repository).unwrap();
        fs::write(repository.join("app.txt"), text).unwrap();
        let identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
        let init: &[&str] = &["init", "--quiet", "--initial-branch=main"];
        let commands = [init, &["add", "."], &["commit", "--quiet", "-m", text]];
        for args in commands.into_iter().skip(usize::from(!is_new)) {
            let status = Command::new("git").args(identity).args(args).current_dir(&repository).status();
            assert!(status.unwrap().success(), "git {args:?}");
        }
    }

    pub fn step(&mut self, name: &str) -> &mut Value {
        let steps = &mut self.run["spec"]["pipelineSpec"]["tasks"][0]["taskSpec"]["steps"];
        steps.as_array_mut().unwrap().iter_mut().find(|step| step["name"] == name).unwrap()
    }

    /// Carries a step out.
    pub fn carry_out(&mut self, name: &str) -> Ended {
        let step = self.step(name).clone();
        let image = self.expanded(&step["image"]);
        let is_builder = image == self.parameter("BUILDER_IMAGE");
        let mut mounts = self.mounts(&step);
        let mut variables: BTreeMap<String, String> = BTreeMap::new();
        if is_builder {
            mounts.push(mount(self.builder.path(), "/cnb", false));
            variables.extend(Builder::variables().map(owned));
        } else {
            mounts.push(mount(&self.path("repository"), REPOSITORY, false));
            variables.extend([("PATH", "/usr/bin:/bin"), ("GIT_CONFIG_COUNT", "1")].map(owned));
            variables.extend([("GIT_CONFIG_VALUE_0", "https://git.test/cart")].map(owned));
            variables.extend([("GIT_CONFIG_KEY_0", &*format!("url.{REPOSITORY}.insteadOf"))].map(owned));
        }
        for variable in step["env"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap().to_owned();
            variables.insert(name, self.expanded(&variable["value"]));
        }
        let script = self.path(&format!("scripts/{name}"));
        fs::write(&script, self.expanded(&step["script"])).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let args = step["args"].as_array().into_iter().flatten().map(|arg| self.expanded(arg));
        let command: Vec<String> = [format!("/tekton/scripts/{name}")].into_iter().chain(args).collect();
        let variables: Vec<_> = variables.into_iter().collect();
        sandbox::run(&command, &variables, &mounts)
    }

    /// Carries all steps out; each must succeed. What they printed.
    pub fn succeed(&mut self) -> String {
        let mut printed = String::new();
        self.begin();
        for name in STEPS {
            let ended = self.carry_out(name);
            assert_eq!(ended.code, 0, "{name}: {}", ended.output);
            printed.push_str(&ended.output);
        }
        printed
    }

    /// Carries the steps out until one fails; what the function's status says of it, and all that was printed.
    pub fn fail(&mut self) -> (String, String) {
        let (mut steps, mut printed, mut failed) = (Vec::new(), String::new(), None);
        self.begin();
        for name in STEPS {
            let code = if failed.is_none() {
                let ended = self.carry_out(name);
                printed.push_str(&ended.output);
                ended.code
            } else {
                1
            };
            if code != 0 && failed.is_none() {
                failed = Some((name, code));
            }
            steps.push(
                json!({"name": name, "terminated": {"exitCode": code, "reason": "Error", "message": "[]"}}),
            );
        }
        let (name, code) = failed.unwrap_or_else(|| panic!("no step failed: {printed}"));
        (self.message(&json!(steps), name, code), printed)
    }

    /// What the status says of a task that ended so.
    fn message(&self, steps: &Value, failed: &str, code: i32) -> String {
        let message = format!("\"step-{failed}\" exited with code {code}");
        let conditions =
            json!([{"type": "Succeeded", "status": "False", "reason": "Failed", "message": message}]);
        let cause = fs::read_to_string(self.path(&format!("results/{CAUSE}")));
        let results: Vec<_> = cause.into_iter().map(|cause| json!({"name": CAUSE, "value": cause})).collect();
        let owner =
            json!([{"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": "run", "uid": "run"}]);
        let object = |kind: &str, owners: &Value, status: &Value| -> DynamicObject {
            let metadata = json!({"name": "run", "uid": "run", "ownerReferences": owners});
            serde_json::from_value(
                json!({"apiVersion": "tekton.dev/v1", "kind": kind, "metadata": metadata, "status": status}),
            )
            .unwrap()
        };
        let status = json!({"conditions": conditions, "steps": steps, "results": results});
        let task = object("TaskRun", &owner, &status);
        let run = object("PipelineRun", &json!([]), &json!({"conditions": conditions}));
        let details = LiveChildren::from([(ChildId::new(ChildKind::TaskRun, "run"), Arc::new(task))]);
        failure_message(&run, &details)
    }

    /// The digest that was reported.
    pub fn reported(&self) -> String {
        fs::read_to_string(self.path("results/IMAGE_DIGEST")).unwrap()
    }

    fn parameter(&self, name: &str) -> String {
        let params = self.run["spec"]["params"].as_array().unwrap();
        params.iter().find(|param| param["name"] == name).unwrap()["value"].as_str().unwrap().to_owned()
    }

    /// The text as Tekton expands it.
    fn expanded(&self, text: &Value) -> String {
        let mut text = text.as_str().unwrap_or_else(|| panic!("{text} is no text")).to_owned();
        for param in self.run["spec"]["params"].as_array().unwrap() {
            let name = format!("$(params.{})", param["name"].as_str().unwrap());
            text = text.replace(&name, param["value"].as_str().unwrap());
        }
        for result in ["IMAGE_DIGEST", CAUSE] {
            text = text.replace(&format!("$(results.{result}.path)"), &format!("/tekton/results/{result}"));
        }
        text
    }

    /// The volumes and workspaces of the step, and what Tekton mounts in every one.
    fn mounts(&self, step: &Value) -> Vec<Mount> {
        let mut mounts = vec![
            mount(&self.path("workspace"), "/workspace", true),
            mount(&self.path("home"), "/tekton/home", true),
            mount(&self.path("results"), "/tekton/results", true),
            mount(&self.path("scripts"), "/tekton/scripts", false),
        ];
        for volume in step["volumeMounts"].as_array().unwrap() {
            let (name, path) = (volume["name"].as_str().unwrap(), volume["mountPath"].as_str().unwrap());
            mounts.push(mount(&self.path(name), path, true));
        }
        for workspace in step["workspaces"].as_array().into_iter().flatten() {
            mounts.push(mount(&self.path("registry"), workspace["mountPath"].as_str().unwrap(), false));
        }
        mounts
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn mount(source: &Path, path: &str, writable: bool) -> Mount {
    Mount { source: source.to_owned(), path: path.to_owned(), writable }
}

/// The run that is rendered for a function which pushes to this registry with a Secret.
fn rendered(registry: &Registry) -> Value {
    let spec = json!({
        "source": {"git": {"url": "https://git.test/cart"}},
        "runtime": "python",
        "image": format!("{}/{IMAGE}:v1", registry.host()),
        "builder": "registry.test/builder",
        "entrypoint": "cat app.txt",
        "build": {"pushSecret": "push"},
    });
    let spec: ElpioFunctionSpec = serde_json::from_value(spec).unwrap();
    let valid = render::validate_function("cart", &spec, None, &Defaults::default()).unwrap();
    let owner = Owner {
        api_version: api::API_VERSION,
        kind: "ElpioFunction",
        namespace: "shop",
        name: "cart",
        uid: "uid",
        label: (label::FUNCTION, "cart"),
        build: None,
    };
    let run = render::pipeline_run(&owner, &valid, &valid.first_build(), &Defaults::default()).manifest();
    let item = &run["spec"]["workspaces"][0]["secret"]["items"][0];
    assert_eq!((&item["key"], &item["path"]), (&json!(".dockerconfigjson"), &json!("config.json")));
    run
}
