//! What becomes of an `ElpioFunction`: the run that builds it and the service that it publishes.

use std::collections::BTreeMap;

use kube::core::DynamicObject;

use crate::golden::{UID, cases, compare, read, stored, unset};
use elpio_operator::{
    api::{self, ElpioFunction, ElpioFunctionSpec, ElpioService, label},
    render::{self, Child, Defaults, Desired, Owner, ValidFunction},
};

/// An edit of a spec.
type Edit = fn(&mut ElpioFunctionSpec);

fn function(case: &str) -> (ElpioFunction, ValidFunction) {
    let object: ElpioFunction = serde_json::from_value(read("function", case)).unwrap();
    let rebuild = object
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(api::annotation::REBUILD))
        .map(String::as_str);
    let name = object.metadata.name.as_deref().unwrap();
    let valid = render::validate_function(name, &object.spec, rebuild, &Defaults::default())
        .unwrap_or_else(|faults| panic!("{case}: {faults:?}"));
    (object, valid)
}

/// The run; the service with the digest that it reports; the service when it reports none.
fn function_children(case: &str) -> Vec<Child> {
    let (object, valid) = function(case);
    let owner = Owner {
        api_version: api::API_VERSION,
        kind: "ElpioFunction",
        namespace: object.metadata.namespace.as_deref().unwrap(),
        name: &valid.name,
        uid: UID,
        label: (label::FUNCTION, &valid.name),
        build: None,
    };
    let build = valid.first_build();
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    vec![
        render::pipeline_run(&owner, &valid, &build, &Defaults::default()),
        render::published_service(&owner, &valid, &render::served_build(&valid, &build.name, Some(&digest))),
        render::published_service(&owner, &valid, &render::served_build(&valid, &build.name, Some("latest"))),
    ]
}

/// The run's name stands in the files too: were it to change, every function in every cluster would be built
/// again after an upgrade.
#[test]
fn every_function_becomes_its_run_and_its_service() {
    compare("function", |case| Desired { children: function_children(case), ..Desired::default() });
}

/// The store drops an empty map of annotations, which the answer to a write may still have: both are the same
/// differences, or the child would be written at each reconcile where admission takes them.
#[test]
fn annotations_that_were_taken_are_named_one_by_one() {
    let service = function_children("git-minimal").remove(1);
    for annotations in [None, Some(BTreeMap::new())] {
        let mut live: DynamicObject = serde_json::from_value(service.manifest()).unwrap();
        live.metadata.annotations = annotations;
        let paths = render::drift::differences(&service, &live).into_iter().map(|found| found.path);
        let expected = ["metadata.annotations[elpio.io/build]", "metadata.annotations[elpio.io/applied]"];
        assert_eq!(paths.collect::<Vec<_>>(), expected);
    }
}

/// What a function publishes is taken as it is: by the types, and by the check that the service's own
/// reconcile makes.
#[test]
fn what_a_function_publishes_is_a_valid_service() {
    for case in cases("function") {
        for child in function_children(&case).iter().skip(1) {
            let kept = stored(child.manifest());
            assert_eq!(render::drift::differences(child, &kept), [], "{case}: {kept:?}");
            let service: ElpioService = serde_json::from_value(child.body().clone()).unwrap();
            let name = service.metadata.name.as_deref().unwrap();
            assert_eq!(
                render::validate(name, &service.spec, None, &Defaults::default()).err(),
                None,
                "{case}"
            );
        }
    }
}

/// The run's name follows the build inputs, the rebuild and the number, and nothing else.
#[test]
fn a_run_is_named_by_its_inputs_and_its_number() {
    let (object, valid) = function("git-full");
    let renamed = |change: Edit, rebuild: Option<&str>| {
        let mut spec = object.spec.clone();
        change(&mut spec);
        let changed = render::validate_function("resize", &spec, rebuild, &Defaults::default()).unwrap();
        assert_eq!(
            changed.inputs.hash() != valid.inputs.hash(),
            changed.run_name(2, Some("2")) != valid.run_name(2, Some("2"))
        );
        changed.first_build().name != valid.first_build().name
    };
    let same = Some("2");
    let inputs: [(&str, Edit); 10] = [
        ("url", |spec| spec.source.git.as_mut().unwrap().url.push('x')),
        ("revision", |spec| spec.source.git.as_mut().unwrap().revision.push('x')),
        ("subPath", |spec| spec.source.git.as_mut().unwrap().sub_path = None),
        ("image", |spec| spec.image.push('x')),
        ("builder", |spec| spec.builder.push('x')),
        ("runtime", |spec| spec.runtime.push('x')),
        ("entrypoint", |spec| spec.entrypoint = None),
        ("build.serviceAccount", |spec| spec.build.service_account = None),
        ("build.pushSecret", |spec| spec.build.push_secret = None),
        ("build.timeout", |spec| spec.build.timeout = "1h".to_owned()),
    ];
    for (what, change) in inputs {
        assert!(renamed(change, same), "{what} is an input of the build");
    }
    assert!(renamed(|_| {}, Some("3")) && renamed(|_| {}, None), "another rebuild is another run");
    assert_ne!(valid.run_name(2, same), valid.run_name(3, same), "another build is another run");
    let others: [(&str, Edit); 8] = [
        ("nothing", |_| {}),
        ("build.keep", |spec| spec.build.keep = 9),
        ("build.resources", |spec| spec.build.resources = None),
        ("env", |spec| spec.env.clear()),
        ("scaling", |spec| spec.scaling.min_scale = 2),
        ("port", |spec| spec.port = 4000),
        ("engine", |spec| spec.engine = None),
        ("serviceAccount", |spec| spec.service_account = None),
    ];
    for (what, change) in others {
        assert!(!renamed(change, same), "{what} is no input of the build");
    }
    let longest = "a".repeat(46);
    let name = render::validate_function(&longest, &object.spec, same, &Defaults::default())
        .unwrap()
        .run_name(2, same);
    assert_eq!(name.len(), 63, "{name} is a label's value");
}

/// Tekton asks a registry about a step that has neither script nor command; a script that held a user's text
/// would run it.
#[test]
fn steps_have_a_script_or_a_command_and_no_text_of_users() {
    let mut steps = 0;
    for case in cases("function") {
        for task in function_children(&case)[0].body()["spec"]["pipelineSpec"]["tasks"].as_array().unwrap() {
            for step in task["taskSpec"]["steps"].as_array().unwrap() {
                assert!(step.get("script").is_some() != step.get("command").is_some(), "{case}: {step}");
                assert!(!step["script"].as_str().unwrap_or_default().contains("$(params."), "{case}: {step}");
                let args = step["args"].as_array().into_iter().flatten();
                assert!(args.into_iter().all(|arg| !arg.as_str().unwrap().contains("$(")), "{case}: {step}");
                steps += 1;
            }
        }
    }
    assert_eq!(steps, 7 * cases("function").len());
}

/// The code of buildpacks runs in `detect` and `build`; what it can read is what is mounted there.
#[test]
fn credentials_are_mounted_only_where_the_registry_is_asked() {
    let run = function_children("git-full")[0].body().clone();
    assert_eq!(run["spec"]["taskRunTemplate"]["podTemplate"]["automountServiceAccountToken"], false);
    assert_eq!(run["spec"]["workspaces"][0]["secret"]["secretName"], "push");
    let steps = run["spec"]["pipelineSpec"]["tasks"][0]["taskSpec"]["steps"].as_array().unwrap().clone();
    let with_credentials = |step: &&serde_json::Value| step.get("workspaces").is_some();
    let names: Vec<_> = steps.iter().filter(with_credentials).map(|step| step["name"].clone()).collect();
    assert_eq!(names, ["analyze", "restore", "export"]);
    for step in &steps {
        let knows = step["env"].as_array().unwrap().iter().any(|var| var["name"] == "DOCKER_CONFIG");
        assert_eq!(knows, step.get("workspaces").is_some(), "{step}");
        let may = &step["securityContext"];
        assert_eq!((&may["runAsNonRoot"], &may["capabilities"]["drop"][0]), (&true.into(), &"ALL".into()));
        for amounts in ["requests", "limits"] {
            for resource in ["cpu", "memory"] {
                assert!(step["computeResources"][amounts].get(resource).is_some(), "{step}");
            }
        }
    }
    let without = function_children("git-minimal")[0].body().clone();
    assert_eq!(without["spec"].get("workspaces"), None, "there is nothing to mount");
}

/// A field that no case sets is a field that no golden file proves.
#[test]
fn the_cases_set_every_field() {
    assert_eq!(unset("ElpioFunction", "function", ""), Vec::<String>::new());
}
