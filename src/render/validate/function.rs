//! A raw function becomes a valid one: what is built, and the service that shall run it. Pure.

use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    api::{
        function::{ElpioFunctionSpec, GitSource, MAX_NAME},
        quantity::RawQuantity,
        service::{ElpioServiceSpec, Image},
    },
    render::{
        Defaults,
        child::{canonical, hex},
        duration, formats,
        quantity::Quantity,
        validate::{FieldError, FieldErrors, validate},
    },
};

/// A function whose every field obeys its rule.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidFunction {
    /// The function's name, and the service's.
    pub name: String,
    /// What the build's outcome depends on.
    pub inputs: BuildInputs,
    /// How long a build may take.
    pub timeout: Duration,
    /// How many finished runs stay.
    pub keep: usize,
    /// The service, but for the digest of its image.
    pub service: ElpioServiceSpec,
}

/// What the outcome of a build depends on; its hash names the run.
///
/// A field that is added later must be left out of the hash when it is absent, or every function in every
/// cluster is built again.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildInputs {
    /// The git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
    /// The archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// Where the build pushes.
    pub image: String,
    /// The builder image.
    pub builder: String,
    /// The runtime.
    pub runtime: String,
    /// The process to start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<String>,
    /// The service account of the build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// How long it may take, as written.
    pub timeout: String,
    /// The annotation `elpio.io/rebuild`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<String>,
}

impl ValidFunction {
    /// The name of the run that builds these inputs.
    #[must_use]
    pub fn run_name(&self) -> String {
        format!("{}-build-{}", self.name, self.inputs.hash())
    }
}

impl BuildInputs {
    /// The first 10 hexadecimal digits of the SHA-256 of the inputs, their keys sorted.
    #[must_use]
    pub fn hash(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        hex(&Sha256::digest(canonical(&value).to_string()), 10)
    }
}

/// Checks every rule of a function.
///
/// `rebuild` is its annotation `elpio.io/rebuild`.
///
/// # Errors
/// Every fault that was found, in the order of the fields.
pub fn validate_function(
    name: &str,
    spec: &ElpioFunctionSpec,
    rebuild: Option<&str>,
    defaults: &Defaults,
) -> Result<ValidFunction, Vec<FieldError>> {
    let mut errors = FieldErrors::default();
    errors.check(formats::is_dns_1035_label(name, MAX_NAME), "metadata.name", || {
        format!("must be a DNS-1035 label of at most {MAX_NAME} characters")
    });
    let inputs = inputs(spec, rebuild, &mut errors);
    let timeout = duration::parse(&spec.build.timeout).filter(|timeout| !timeout.is_zero());
    errors.check(timeout.is_some(), "spec.build.timeout", || {
        format!("{:?} must be a duration such as 30m, more than nothing", spec.build.timeout)
    });
    errors.range("spec.build.keep", spec.build.keep, 1, i32::MAX);
    let service = service(spec);
    // The service's image and name are made from fields that were checked under their own paths.
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
        timeout: timeout.unwrap_or_default(),
        keep: usize::try_from(spec.build.keep).unwrap_or_default(),
        service,
    })
}

/// Empty texts count as absent, so that to write one changes nothing.
fn inputs(spec: &ElpioFunctionSpec, rebuild: Option<&str>, errors: &mut FieldErrors) -> BuildInputs {
    source(spec, errors);
    errors.check(formats::is_label_value(&spec.runtime), "spec.runtime", || {
        "must be 1 to 63 letters, digits, dashes, underscores and dots, with a letter or digit at each end".to_owned()
    });
    let (repository, tag) = split_tag(&spec.image);
    // The published service has it as its repository and tag.
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
    errors.check(
        service_account.as_deref().is_none_or(formats::is_subdomain),
        "spec.build.serviceAccount",
        || "must be a lower-case DNS name of at most 253 characters".to_owned(),
    );
    let trim = |git: GitSource| GitSource { sub_path: git.sub_path.filter(|path| !path.is_empty()), ..git };
    BuildInputs {
        git: spec.source.git.clone().map(trim),
        archive: spec.source.archive.clone(),
        image: spec.image.clone(),
        builder: spec.builder.clone(),
        runtime: spec.runtime.clone(),
        entrypoint,
        service_account,
        timeout: spec.build.timeout.clone(),
        rebuild: rebuild.map(str::to_owned),
    }
}

fn source(spec: &ElpioFunctionSpec, errors: &mut FieldErrors) {
    let source = &spec.source;
    errors.check(source.git.is_some() != source.archive.is_some(), "spec.source", || {
        "exactly one of git and archive must be set".to_owned()
    });
    if let Some(git) = &source.git {
        errors.check(is_https(&git.url), "spec.source.git.url", || {
            format!("{:?} must be an https:// URL", git.url)
        });
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
        errors.check(is_https(archive), "spec.source.archive", || {
            format!("{archive:?} must be an https:// URL")
        });
    }
}

fn is_https(url: &str) -> bool {
    url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty())
        && formats::at_most_chars(url, 2048)
        && !url.contains(char::is_whitespace)
}

/// An image's name, which can never be taken for an option of a command.
fn is_reference(image: &str) -> bool {
    image.starts_with(|first: char| first.is_ascii_alphanumeric())
        && formats::at_most_chars(image, 512)
        && !image.contains(char::is_whitespace)
}

/// A colon after the last slash begins the tag; one before it belongs to the registry's port.
fn split_tag(image: &str) -> (&str, Option<&str>) {
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (image, None),
    }
}

/// The service with the image by tag.
fn service(spec: &ElpioFunctionSpec) -> ElpioServiceSpec {
    let (repository, tag) = split_tag(&spec.image);
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
