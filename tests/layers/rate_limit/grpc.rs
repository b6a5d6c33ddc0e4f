//! Refusals as gRPC clients read them.

use super::*;

fn call(content_type: &'static str) -> Request<Empty<Bytes>> {
    let mut request = from("192.0.2.7");
    request.headers_mut().insert("content-type", content_type.parse().expect("a value"));
    request
}

#[tokio::test]
async fn a_refused_call_is_resource_exhausted() {
    for content_type in ["application/grpc", "application/grpc+proto", "application/grpc;a=b"] {
        let layer = limits().layer(ONE);
        assert!(!send(&layer, call(content_type)).await.headers().contains_key("grpc-status"));
        let refused = send(&layer, call(content_type)).await;
        assert_eq!(refused.status(), 200, "{content_type}");
        let headers = refused.headers();
        assert_eq!(headers["grpc-status"], "8", "{content_type}");
        assert_eq!(headers["grpc-message"], "too many requests");
        assert_eq!(headers["content-type"], "application/grpc");
        assert_eq!(headers["retry-after"], "10");
        assert_eq!(headers["ratelimit"], "\"one\";r=0;t=10");
        assert_eq!(text(refused).await, "");
    }
}

#[tokio::test]
async fn other_content_types_are_refused_with_429() {
    for content_type in ["application/grpc-web", "application/grpcx", "application/json", ""] {
        let layer = limits().layer(ONE);
        send(&layer, call(content_type)).await;
        let refused = send(&layer, call(content_type)).await;
        assert_eq!(refused.status(), 429, "{content_type}");
        assert!(!refused.headers().contains_key("grpc-status"), "{content_type}");
    }
}

#[tokio::test]
async fn an_outage_is_unavailable_where_the_policy_denies() {
    let outage = OutageSwitch::default();
    let limits = RateLimits::new(MemoryRateStore::new(Clock::system()).outage(outage.clone()));
    let strict = Policy::sliding_window("strict", 9, minutes(1)).on_outage(LimitOutage::Deny);
    outage.set(true);
    let refused = send(&limits.layer(strict), call("application/grpc")).await;
    assert_eq!((refused.status(), refused.headers()["grpc-status"].as_bytes()), (StatusCode::OK, &b"14"[..]));
    assert_eq!(refused.headers()["retry-after"], "1");
}

#[tokio::test]
async fn the_application_may_answer_calls_itself() {
    let layer = limits().layer(ONE).deny_with(|_: &Denied, _: &Parts| Response::new(Bytes::from_static(b"mine")));
    send(&layer, call("application/grpc")).await;
    assert_eq!(text(send(&layer, call("application/grpc")).await).await, "mine");
}
