//! Validates a raw function: its build, and the service that runs it. Pure.

use k8s_openapi::api::core::v1::ResourceRequirements;

use crate::{
    api::{
        function::{ARCHIVE_CREDENTIALS, ElpioFunctionSpec, GIT_CREDENTIALS, GitSource, MAX_NAME},
        quantity::RawQuantity,
        service::{ElpioServiceSpec, Image},
    },
    render::{
        Defaults, duration, formats,
        function::inputs::BuildInputs,
        quantity::Quantity,
        validate::{FieldError, FieldErrors, container, validate},
    },
};

/// A function that passed validation.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidFunction {
    /// The name of the function and its service.
    pub name: String,
    /// The inputs of the build.
    pub inputs: BuildInputs,
    /// The annotation `elpio.io/rebuild`.
    pub rebuild: Option<String>,
    /// How many finished runs to keep.
    pub keep: usize,
    /// Compute resources of each build step, if the user set them.
    pub build_resources: Option<ResourceRequirements>,
    /// The service, without the digest of its image.
    pub service: ElpioServiceSpec,
}

/// Validates a function.
///
/// `rebuild` is its annotation `elpio.io/rebuild`, which [`super::check_annotations`] checks.
///
/// # Errors
/// Every error found, in the order of the fields.
pub fn validate_function(
    name: &str,
    spec: &ElpioFunctionSpec,
    rebuild: Option<&str>,
    defaults: &Defaults,
) -> Result<ValidFunction, Vec<FieldError>> {
    let mut errors = FieldErrors::default();
    errors.dns_label("metadata.name", name, MAX_NAME);
    let inputs = inputs(spec, &mut errors);
    let timeout = duration::parse(&spec.build.timeout);
    errors.check(timeout.is_some_and(|timeout| !timeout.is_zero()), "spec.build.timeout", || {
        format!("{:?} must be a duration greater than 0, such as 30m", spec.build.timeout)
    });
    errors.range("spec.build.keep", spec.build.keep, 1, 20);
    let build_resources = spec
        .build
        .resources
        .as_ref()
        .and_then(|resources| container::requirements("spec.build.resources", resources, &mut errors));
    let service = service(spec);
    // The service's image and name come from fields that are validated under their own paths.
    let others = validate(name, &service, None, defaults).err().unwrap_or_default();
    for error in others
        .into_iter()
        .filter(|error| !error.path.starts_with("spec.image") && !error.path.starts_with("metadata."))
    {
        errors.add(error.path, error.message);
    }
    errors.into_result()?;
    Ok(ValidFunction {
        name: name.to_owned(),
        inputs,
        rebuild: rebuild.map(str::to_owned),
        keep: usize::try_from(spec.build.keep).unwrap_or_default(),
        build_resources,
        service,
    })
}

/// Empty strings count as absent, so that adding one changes nothing.
fn inputs(spec: &ElpioFunctionSpec, errors: &mut FieldErrors) -> BuildInputs {
    source(spec, errors);
    errors.check(formats::is_label_value(&spec.runtime), "spec.runtime", || {
        "must be 1 to 63 letters, digits, dashes, underscores and dots, with a letter or digit at each end".to_owned()
    });
    let (repository, tag) = formats::split_tag(&spec.image);
    // They become the repository and tag of the published service.
    let image = formats::is_repository(repository) && tag.is_none_or(formats::is_image_tag);
    errors
        .check(image, "spec.image", || format!("{:?} must be repository[:tag], without digest", spec.image));
    let entrypoint = spec.entrypoint.clone().filter(|text| !text.is_empty());
    errors.check(
        entrypoint
            .as_deref()
            .is_none_or(|text| formats::at_most_chars(text, 4096) && !text.contains(['\n', '\r'])),
        "spec.entrypoint",
        || "must be one line of at most 4096 characters".to_owned(),
    );
    errors.check(is_reference(&spec.builder), "spec.builder", || {
        format!("{:?} must be the name of an image", spec.builder)
    });
    let service_account = spec.build.service_account.clone().filter(|name| !name.is_empty());
    let push_secret = spec.build.push_secret.clone().filter(|name| !name.is_empty());
    for (field, name) in [("serviceAccount", &service_account), ("pushSecret", &push_secret)] {
        errors.object_name(&format!("spec.build.{field}"), name.as_deref());
    }
    let trim = |git: GitSource| GitSource { sub_path: git.sub_path.filter(|path| !path.is_empty()), ..git };
    BuildInputs {
        git: spec.source.git.clone().map(trim),
        archive: spec.source.archive.clone(),
        image: spec.image.clone(),
        builder: spec.builder.clone(),
        runtime: spec.runtime.clone(),
        entrypoint,
        service_account,
        push_secret,
        timeout: spec.build.timeout.clone(),
    }
}

fn source(spec: &ElpioFunctionSpec, errors: &mut FieldErrors) {
    let source = &spec.source;
    errors.check(source.git.is_some() != source.archive.is_some(), "spec.source", || {
        "exactly one of git and archive must be set".to_owned()
    });
    if let Some(git) = &source.git {
        url("spec.source.git.url", &git.url, GIT_CREDENTIALS, errors);
        let revision = !git.revision.is_empty()
            && formats::at_most_chars(&git.revision, 256)
            && !git.revision.starts_with('-');
        errors.check(
            revision && !git.revision.contains(char::is_whitespace),
            "spec.source.git.revision",
            || format!("{:?} must be a branch, a tag or a commit, not beginning with a dash", git.revision),
        );
        let path = git.sub_path.as_deref().unwrap_or_default();
        let inside = !path.starts_with('/')
            && path.split('/').all(|part| part != "..")
            && formats::at_most_chars(path, 1024)
            && !path.contains(['\n', '\r']);
        errors.check(inside, "spec.source.git.subPath", || format!("{path:?} must be relative, without .."));
    }
    if let Some(archive) = &source.archive {
        url("spec.source.archive", archive, ARCHIVE_CREDENTIALS, errors);
    }
}

fn url(path: &str, url: &str, instead: &str, errors: &mut FieldErrors) {
    if has_user_info(url) {
        errors.add(path, format!("must not contain credentials: {instead}"));
    } else {
        errors.check(is_https(url), path, || format!("{url:?} must be an https:// URL"));
    }
}

fn has_user_info(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

fn is_https(url: &str) -> bool {
    url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty())
        && formats::at_most_chars(url, 2048)
        && !url.contains(char::is_whitespace)
}

/// An image name that no command can mistake for an option.
fn is_reference(image: &str) -> bool {
    image.starts_with(|first: char| first.is_ascii_alphanumeric())
        && formats::at_most_chars(image, 512)
        && !image.contains(char::is_whitespace)
}

/// The service, with the image by tag.
fn service(spec: &ElpioFunctionSpec) -> ElpioServiceSpec {
    let (repository, tag) = formats::split_tag(&spec.image);
    let mut resources = spec.resources.clone();
    for amounts in resources.iter_mut().flat_map(|resources| [&mut resources.requests, &mut resources.limits])
    {
        for amount in amounts.values_mut() {
            if let Some(quantity) = Quantity::parse(&amount.to_string()) {
                *amount = RawQuantity::Text(quantity.to_string());
            }
        }
    }
    ElpioServiceSpec {
        image: Image { repository: repository.to_owned(), tag: tag.map(str::to_owned), digest: None },
        engine: spec.engine,
        port: spec.port,
        env: spec.env.clone(),
        env_from: spec.env_from.clone(),
        external_secrets: Vec::new(),
        resources,
        readiness_probe: spec.readiness_probe.clone(),
        scaling: spec.scaling.clone(),
        ingress: spec.ingress.clone(),
        service_account: spec.service_account.clone().filter(|name| !name.is_empty()),
        image_pull_secrets: spec.image_pull_secrets.clone(),
        traffic: Vec::new(),
    }
}
