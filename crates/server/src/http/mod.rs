//! The status page, and the same for programs: `/status.json`, `/metrics` for Prometheus, `/healthz`.

mod metrics;
mod status;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use millstream_engine::{Engine, Status};
use std::sync::Arc;
use tokio::net::TcpListener;

use crate::pgwire::Port;

/// What the pages are about.
#[derive(Clone)]
pub(crate) struct Pages {
    pub engine: Engine,
    /// The Postgres port, if there is one.
    pub port: Option<Arc<Port>>,
}

impl Pages {
    /// Serves for ever.
    pub(crate) async fn listen(self, listener: TcpListener) {
        let router = Router::new()
            .route("/", get(async || Html(include_str!("page.html"))))
            .route("/status.json", get(status_json))
            .route("/metrics", get(prometheus))
            .route("/healthz", get(healthz))
            .with_state(self);
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the status page ended");
        }
    }

    /// The engine's status: it waits for a step, so not on a thread that serves connections.
    async fn status(&self) -> Status {
        let engine = self.engine.clone();
        tokio::task::spawn_blocking(move || engine.status())
            .await
            .unwrap_or_default()
    }

    fn connections(&self) -> usize {
        self.port.as_ref().map_or(0, |port| port.connections())
    }
}

async fn status_json(State(pages): State<Pages>) -> Response {
    let status = status::json(&pages.status().await, pages.connections());
    (
        [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        status.to_string(),
    )
        .into_response()
}

async fn prometheus(State(pages): State<Pages>) -> Response {
    let text = metrics::text(&pages.status().await, pages.connections());
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
        .into_response()
}

/// 200 while all views are maintained, 503 with the reasons when some are not.
async fn healthz(State(pages): State<Pages>) -> Response {
    let failures: Vec<String> = status::failures(&pages.status().await);
    if failures.is_empty() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, failures.join("\n") + "\n").into_response()
    }
}
