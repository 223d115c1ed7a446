// Alarms of the services that extend the product by consent: previews and the API server.
extension Alarm {
    package static let transcodeConsent = Alarm(
        "HDS-TRANSCODE-CONSENT", "4f0f5f3f0f2b4d6c9a1d7c2e8b5a6d31", .error,
        title: "the transcoding service may not read",
        text:
            "The KMS refuses this service its keys: the signed policy names no consent for it, the consent is over, or the "
            + "release of keys is frozen. No preview is made; everything else goes on. DETAIL says by which rule.",
        fix:
            "If it is meant to read files, name it under services in a new version of the policy (type transcoding, "
            + "subject the id of its account), sign it and copy it to every node of the KMS. If not, stop the service.",
        clears: "when the KMS gives it its keys")
    package static let apiConsent = Alarm(
        "HDS-API-CONSENT", "b0c9d3a47e5f4b1c8d2e6f90a1b3c5d7", .error,
        title: "the API server may not read",
        text:
            "The KMS refuses this service: the signed policy names no consent for it, the consent is over, or the "
            + "release of keys is frozen. Every request of an integration is refused; everything else goes on. DETAIL says by "
            + "which rule.",
        fix:
            "If integrations are meant to read and post here, name the server under services in a new version of the policy "
            + "(type api-access, subject the id of its account), and each integration by its client. If not, stop the service.",
        clears: "when the KMS takes it again")
}
