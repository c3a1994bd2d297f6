//! Validation of the external secrets. Pure.

use crate::{
    api::service::ExternalSecret,
    foreign::external_secrets::{Data, ExternalSecretSpec, RemoteRef, StoreRef, Target},
    render::{
        duration,
        validate::{FieldErrors, ValidSecret},
    },
};

/// The secrets, in order. `tls_secret` is the certificate's Secret, if the spec requests a certificate.
pub(super) fn external_secrets(
    secrets: &[ExternalSecret],
    tls_secret: Option<&str>,
    errors: &mut FieldErrors,
) -> Vec<ValidSecret> {
    errors.at_most("spec.externalSecrets", secrets.len(), 50);
    errors.unique("spec.externalSecrets", "name", secrets.iter().map(|secret| Some(secret.name.as_str())));
    one_writer(secrets, tls_secret, errors);
    secrets
        .iter()
        .enumerate()
        .map(|(index, secret)| external_secret(&format!("spec.externalSecrets[{index}]"), secret, errors))
        .collect()
}

/// Two controllers that write one Secret would undo each other's changes for ever.
fn one_writer(secrets: &[ExternalSecret], tls_secret: Option<&str>, errors: &mut FieldErrors) {
    let written: Vec<&str> = secrets.iter().map(|s| s.secret_name.as_deref().unwrap_or(&s.name)).collect();
    for (index, (secret, name)) in secrets.iter().zip(&written).enumerate() {
        let path = format!("spec.externalSecrets[{index}].secretName");
        errors.check(tls_secret != Some(*name), &path, || {
            format!("{name:?} is the Secret of the certificate that spec.ingress.tls asks for")
        });
        let first = secrets.iter().zip(&written).position(|(_, other)| other == name).unwrap_or(index);
        // Duplicate names are reported as a separate error.
        errors.check(first == index || secrets[first].name == secret.name, &path, || {
            format!("{name:?} is already written by spec.externalSecrets[{first}]")
        });
    }
}

fn external_secret(path: &str, secret: &ExternalSecret, errors: &mut FieldErrors) -> ValidSecret {
    let secret_name = secret.secret_name.as_ref().unwrap_or(&secret.name);
    for (field, name) in
        [("name", &secret.name), ("storeRef", &secret.store_ref), ("secretName", secret_name)]
    {
        // An invalid name that secretName defaults to is one error, not two.
        let own = field != "secretName" || secret.secret_name.is_some();
        errors.object_name(&format!("{path}.{field}"), Some(&**name).filter(|_| own));
    }
    errors.check(
        duration::parse(&secret.refresh_interval).is_some(),
        &format!("{path}.refreshInterval"),
        || format!("{:?} must be a duration such as 1h30m", secret.refresh_interval),
    );
    errors
        .check(!secret.data.is_empty(), &format!("{path}.data"), || "must name at least one key".to_owned());
    errors.at_most(&format!("{path}.data"), secret.data.len(), 100);
    let data = secret.data.iter().enumerate().map(|(index, data)| {
        let path = format!("{path}.data[{index}]");
        errors.data_key(&format!("{path}.secretKey"), &data.secret_key);
        for (field, text) in
            [("remoteKey", Some(&data.remote_key)), ("remoteProperty", data.remote_property.as_ref())]
        {
            let fits = text.is_none_or(|text| (1..=1024).contains(&text.chars().count()));
            errors.check(fits, &format!("{path}.{field}"), || "must have 1 to 1024 characters".to_owned());
        }
        Data {
            secret_key: data.secret_key.clone(),
            remote_ref: RemoteRef { key: data.remote_key.clone(), property: data.remote_property.clone() },
        }
    });
    let data = data.collect();
    ValidSecret {
        name: secret.name.clone(),
        spec: ExternalSecretSpec {
            refresh_interval: secret.refresh_interval.clone(),
            secret_store_ref: StoreRef { name: secret.store_ref.clone(), kind: secret.store_kind.as_str() },
            target: Target { name: secret_name.clone() },
            data,
        },
    }
}
