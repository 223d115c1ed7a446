// Alarms of the search indexer.
extension Alarm {
    package static let indexConsent = Alarm(
        "HDS-INDEX-CONSENT", "5854188624b24b52bdb22ef02e11f7e1", .error,
        title: "the search indexer may not read",
        text:
            "The KMS refuses this service its keys: the signed policy names no consent for it, the consent is over, or the "
            + "release of keys is frozen. Nothing is indexed and nothing is found; nothing is lost, the feed waits. DETAIL says "
            + "by which rule.",
        fix:
            "If it is meant to read, name it under services in a new version of the policy (type search-indexing, subject the "
            + "id of its account), sign it and copy it to every node of the KMS. If not, stop the service.",
        clears: "when the KMS gives it its keys")
    package static let indexLag = Alarm(
        "HDS-INDEX-LAG", "88e879639eb446f09f35c872927d4f6a", .warning,
        title: "the search index is behind",
        text:
            "New messages are not found yet. They are not lost: the core keeps them until this service has read them. DETAIL "
            + "says how many are waiting, and how long it will take at the present pace or what is in the way.",
        fix:
            "If the number falls, wait. Else look at the health address of hds-indexer: the link to the core, the answers of "
            + "the KMS, the search service of the core. A second indexer does not make it faster: one reads at a time.",
        clears: "when everything is indexed")
}
