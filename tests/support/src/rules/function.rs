//! Rules of an `ElpioFunction`: its source, its build, and some of those that it shares with a service.

use serde_json::{Value, json};

use super::{Case, object_of};

/// A function.
fn object(name: &str, fields: Value) -> Value {
    let source = json!({"archive": "https://example.com/a.tar.gz"});
    object_of(
        "ElpioFunction",
        name,
        json!({"source": source, "runtime": "go", "image": "example.com/app"}),
        fields,
    )
}

fn good(what: &'static str, fields: Value) -> Case {
    Case::good(what, object("app", fields))
}

fn bad(what: &'static str, fields: Value, fault: &'static str, refused: &'static str) -> Case {
    Case::bad(what, object("app", fields), fault, refused)
}

fn git(fields: Value) -> Value {
    let Value::Object(fields) = fields else { unreachable!("fields are a map") };
    let mut git = json!({"url": "https://example.com/r.git"});
    git.as_object_mut().into_iter().for_each(|git| git.extend(fields.clone()));
    json!({"source": {"git": git}})
}

pub fn names() -> Vec<Case> {
    let named = |what, name: &str, good: bool| Case {
        what,
        object: object(name, json!({})),
        engine: "knative",
        fault: (!good).then_some("metadata.name: must be a DNS-1035 label of at most 46 characters"),
        refused: (!good).then_some("metadata.name must be a DNS-1035 label of at most 46 characters"),
    };
    vec![
        named("a function's name of 46 characters", &"a".repeat(46), true),
        named("a function's name of 47 characters", &"a".repeat(47), false),
        named("a function's name with a dot", "a.b", false),
    ]
}

pub fn source() -> Vec<Case> {
    let one = "spec.source: exactly one of git and archive must be set";
    let refused = "source: exactly one of git and archive must be set";
    let dots = "source.git.subPath must not contain ..";
    vec![
        bad("no source", json!({"source": {}}), one, refused),
        bad(
            "two sources",
            json!({"source": {"git": {"url": "https://a"}, "archive": "https://a"}}),
            one,
            refused,
        ),
        bad(
            "git by ssh",
            git(json!({"url": "git@example.com:r.git"})),
            "spec.source.git.url: \"git@example.com:r.git\" must be an https:// URL",
            "spec.source.git.url",
        ),
        bad(
            "git by http",
            git(json!({"url": "http://example.com/r"})),
            "spec.source.git.url: \"http://example.com/r\" must be an https:// URL",
            "spec.source.git.url",
        ),
        bad(
            "git without a host",
            git(json!({"url": "https://"})),
            "spec.source.git.url: \"https://\" must be an https:// URL",
            "spec.source.git.url",
        ),
        bad(
            "an archive by http",
            json!({"source": {"archive": "http://example.com/a.zip"}}),
            "spec.source.archive: \"http://example.com/a.zip\" must be an https:// URL",
            "spec.source.archive",
        ),
        bad(
            "git with a token",
            git(json!({"url": "https://user:canary@example.com/r"})),
            "spec.source.git.url: must not contain credentials: \
             give build.serviceAccount a Secret with the annotation tekton.dev/git-0 instead",
            "source.git.url must not contain credentials: \
             give build.serviceAccount a Secret with the annotation tekton.dev/git-0 instead",
        ),
        bad(
            "an archive with a user",
            json!({"source": {"archive": "https://user@example.com/a.zip"}}),
            "spec.source.archive: must not contain credentials: give a signed URL that expires instead",
            "source.archive must not contain credentials: give a signed URL that expires instead",
        ),
        good("a URL with an @ in its path", git(json!({"url": "https://example.com/a@b?c=d@e"}))),
        good("a revision with a slash and a dash", git(json!({"revision": "feature/a-b"}))),
        bad(
            "a revision that is an option",
            git(json!({"revision": "--upload-pack=x"})),
            "spec.source.git.revision: \"--upload-pack=x\" must be a branch, a tag or a commit, not beginning with a dash",
            "spec.source.git.revision",
        ),
        bad(
            "an empty revision",
            git(json!({"revision": ""})),
            "spec.source.git.revision: \"\" must be a branch, a tag or a commit, not beginning with a dash",
            "spec.source.git.revision",
        ),
        bad(
            "a revision with a space",
            git(json!({"revision": "a b"})),
            "spec.source.git.revision: \"a b\" must be a branch, a tag or a commit, not beginning with a dash",
            "spec.source.git.revision",
        ),
        good("a folder", git(json!({"subPath": "a/..b/c..d/..."}))),
        good("no folder", git(json!({"subPath": ""}))),
        bad(
            "an absolute folder",
            git(json!({"subPath": "/a"})),
            "spec.source.git.subPath: \"/a\" must be relative, without ..",
            "spec.source.git.subPath",
        ),
        bad(
            "a folder above",
            git(json!({"subPath": "../a"})),
            "spec.source.git.subPath: \"../a\" must be relative, without ..",
            dots,
        ),
        bad(
            "a folder above, later",
            git(json!({"subPath": "a/../../b"})),
            "spec.source.git.subPath: \"a/../../b\" must be relative, without ..",
            dots,
        ),
        bad(
            "a folder that ends above",
            git(json!({"subPath": "a/.."})),
            "spec.source.git.subPath: \"a/..\" must be relative, without ..",
            dots,
        ),
        bad(
            "the folder above",
            git(json!({"subPath": ".."})),
            "spec.source.git.subPath: \"..\" must be relative, without ..",
            dots,
        ),
    ]
}

pub fn build() -> Vec<Case> {
    let runtime = "spec.runtime: must be 1 to 63 letters, digits, dashes, underscores and dots, with a letter or digit at each end";
    let digest = json!({"image": format!("example.com/app@sha256:{}", "0".repeat(64))});
    vec![
        bad("no runtime", json!({"runtime": ""}), runtime, "spec.runtime"),
        bad("a runtime that is no label's value", json!({"runtime": "go 1"}), runtime, "spec.runtime"),
        good("an image with a port and a tag", json!({"image": "example.com:5000/a/b:v1"})),
        bad(
            "an image with a digest",
            digest,
            "spec.image: \"example.com/app@sha256:0000000000000000000000000000000000000000000000000000000000000000\" must be repository[:tag], without digest",
            "spec.image",
        ),
        bad(
            "no image",
            json!({"image": ""}),
            "spec.image: \"\" must be repository[:tag], without digest",
            "spec.image",
        ),
        bad(
            "an image that is an option",
            json!({"image": "-daemon"}),
            "spec.image: \"-daemon\" must be repository[:tag], without digest",
            "spec.image",
        ),
        bad(
            "no builder",
            json!({"builder": ""}),
            "spec.builder: \"\" must be the name of an image",
            "spec.builder",
        ),
        good("a builder by digest", json!({"builder": "builder@sha256:0"})),
        good("an empty entrypoint", json!({"entrypoint": ""})),
        bad(
            "an entrypoint of two lines",
            json!({"entrypoint": "a\nb"}),
            "spec.entrypoint: must be one line of at most 4096 characters",
            "spec.entrypoint",
        ),
        good("the shortest build", json!({"build": {"timeout": "1ns", "keep": 1}})),
        bad(
            "a build of no time",
            json!({"build": {"timeout": "0s"}}),
            "spec.build.timeout: \"0s\" must be a duration greater than 0, such as 30m",
            "build.timeout must be greater than 0",
        ),
        bad(
            "a build of no time, in short",
            json!({"build": {"timeout": "0"}}),
            "spec.build.timeout: \"0\" must be a duration greater than 0, such as 30m",
            "build.timeout must be greater than 0",
        ),
        bad(
            "a time without unit",
            json!({"build": {"timeout": "30"}}),
            "spec.build.timeout: \"30\" must be a duration greater than 0, such as 30m",
            "spec.build.timeout",
        ),
        bad(
            "no build kept",
            json!({"build": {"keep": 0}}),
            "spec.build.keep: must be 1 to 20, not 0",
            "spec.build.keep",
        ),
        bad(
            "too many builds kept",
            json!({"build": {"keep": 21}}),
            "spec.build.keep: must be 1 to 20, not 21",
            "spec.build.keep",
        ),
        bad(
            "a push secret that is no name",
            json!({"build": {"pushSecret": "A"}}),
            "spec.build.pushSecret: must be a lower-case DNS name of at most 253 characters",
            "spec.build.pushSecret",
        ),
        good("no push secret", json!({"build": {"pushSecret": ""}})),
        good("amounts of a step", json!({"build": {"resources": {"limits": {"cpu": 2, "memory": "1Gi"}}}})),
        bad(
            "amounts of a step that are none",
            json!({"build": {"resources": {"limits": {"cpu": "x"}}}}),
            "spec.build.resources.limits.cpu: \"x\" is not a quantity",
            "spec.build.resources.limits",
        ),
        bad(
            "a build account that is no name",
            json!({"build": {"serviceAccount": "A"}}),
            "spec.build.serviceAccount: must be a lower-case DNS name of at most 253 characters",
            "spec.build.serviceAccount",
        ),
    ]
}

/// One of each rule that stands at the spec itself, and some of those below: the types are the service's.
pub fn shared() -> Vec<Case> {
    let cpu =
        "spec.scaling.metric: cpu on KEDA needs spec.resources.requests.cpu or spec.resources.limits.cpu";
    let keda = json!({"scaling": {"metric": "cpu"}});
    vec![
        bad(
            "a function's port of Knative's",
            json!({"engine": "knative", "port": 8012}),
            "spec.port: 8012 is reserved by Knative (8008, 8012, 8013, 8022, 9090, 9091)",
            "port must not be one that Knative reserves",
        ),
        bad(
            "a function's PORT on Knative",
            json!({"engine": "knative", "env": [{"name": "PORT", "value": "1"}]}),
            "spec.env[0].name: PORT is a variable that Knative sets itself",
            "env must not name a variable that Knative sets",
        ),
        bad(
            "a function by cpu on KEDA",
            json!({"engine": "keda", "scaling": {"metric": "cpu"}}),
            cpu,
            "scaling.metric cpu on KEDA needs",
        ),
        Case { engine: "keda", refused: None, ..bad("a function by cpu, KEDA by default", keda, cpu, "") },
        bad(
            "a function's host with ingress off",
            json!({"ingress": {"enabled": false, "host": "a.example"}}),
            "spec.ingress.host: needs spec.ingress.enabled",
            "ingress.host needs ingress.enabled",
        ),
        bad(
            "a function's amount that is none",
            json!({"resources": {"limits": {"cpu": "x"}}}),
            "spec.resources.limits.cpu: \"x\" is not a quantity",
            "spec.resources.limits",
        ),
        bad(
            "a function's variable without a value",
            json!({"env": [{"name": "A"}]}),
            "spec.env[0]: exactly one of value and valueFrom must be set",
            "env: exactly one of value and valueFrom must be set",
        ),
    ]
}
