//! Certificates that are rotated while telemetry is pushed: nothing is lost, and the new ones are used.

use std::{collections::BTreeSet, time::Duration};

use elpio_cluster::{eventually, pki::Authority};

use crate::{
    live_env::TIMEOUT,
    receiving::{END, Pushing, Receiving, case},
    report::table,
};

/// Of each step; some exports are under way when files change, and some come after.
const RECONCILES: i64 = 40;

/// Reconciles under way, and what arrived of them.
struct Load<'a> {
    receiving: &'a mut Receiving,
    pushing: Pushing,
    case: String,
    sent: i64,
    /// Ids of the spans that arrived; a collector that is started again begins its files anew.
    arrived: BTreeSet<String>,
}

impl Load<'_> {
    /// Reconciles until all of this step have arrived.
    async fn step(&mut self) {
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        for _ in 0..RECONCILES {
            pace.tick().await;
            self.sent += 1;
            self.pushing.reconcile(None, self.sent).await;
        }
        let sent = usize::try_from(self.sent).unwrap();
        eventually("every span of the step arrived", TIMEOUT, async || {
            let spans = self.receiving.received(&self.case).spans();
            self.arrived.extend(spans.iter().map(|span| span["spanId"].to_string()));
            let arrived = self.arrived.len();
            if arrived == sent { Ok(()) } else { Err(format!("{arrived} of {sent}")) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_rotated_under_load_and_nothing_is_lost() {
    let mut rows = Vec::new();
    for protocol in ["grpc", "http/protobuf"] {
        let mut receiving = Receiving::start().await;
        let (old, new) = (receiving.authority.certificate(), Authority::new("elpio-rotated"));
        let endpoint = match protocol {
            "grpc" => format!("https://localhost:{}", receiving.mutual.0),
            _ => format!("https://localhost:{}/v1/traces", receiving.mutual.1),
        };
        let case = case();
        let pushing = Pushing::new(
            &case,
            &[
                ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", &receiving.file("ca.crt")),
                ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &receiving.file("client.crt")),
                ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &receiving.file("client.key")),
                ("OTEL_BSP_SCHEDULE_DELAY", "20"),
            ],
        );
        let mut load = Load { receiving: &mut receiving, pushing, case, sent: 0, arrived: BTreeSet::new() };
        load.step().await;
        // Both sides trust both authorities, then each shows a certificate of the new one, then the old one is
        // trusted no more: the order in which a rotation is done.
        load.receiving.write("ca.crt", &format!("{old}{}", new.certificate()));
        load.step().await;
        let client = new.client("operator");
        load.receiving.write("client.crt", &client.certificate);
        load.receiving.write("client.key", &client.key);
        load.step().await;
        let server = new.server(&["localhost", "127.0.0.1"]);
        load.receiving.write("server.crt", &server.certificate);
        load.receiving.write("server.key", &server.key);
        load.step().await;
        load.receiving.write("ca.crt", &new.certificate());
        load.step().await;
        // No connection of before is left.
        load.receiving.restart().await;
        load.step().await;
        rows.push(vec![protocol.to_owned(), load.sent.to_string(), load.arrived.len().to_string()]);
        let lost = load.pushing.telemetry.shutdown(END).await;
        assert!(lost.is_empty(), "{protocol}: {lost:?}");
    }
    table("Certificates rotated under load", &["protocol", "spans sent", "spans received"], &rows);
}
