// Alarms of the eDiscovery worker.
extension Alarm {
    package static let ediscoveryConsent = Alarm(
        "HDS-EDISCOVERY-CONSENT", "0fd1d1c05c0e4a0aa1bfa4a9f4d1d6b7", .error,
        title: "the eDiscovery worker may not read",
        text:
            "The KMS refuses this service its keys: the signed policy names no consent for it, the consent is over, or the "
            + "release of keys is frozen. Nothing is mirrored, collected or answered; nothing is lost, the feed waits. DETAIL "
            + "says by which rule.",
        fix:
            "If it is meant to read, name it under services in a new version of the policy (type ediscovery, mayActOnBehalf, "
            + "subject the id of its account), sign it and copy it to every node of the KMS. If not, stop the service.",
        clears: "when the KMS gives it its keys")
    package static let ediscoveryStuck = Alarm(
        "HDS-EDISCOVERY-STUCK", "a38f754682d3411883c7dc3c6b757137", .warning,
        title: "reports of the eDiscovery worker do not go on",
        text:
            "For a minute and more something has been in the way of the work at reports. Nothing is lost: a report goes on behind "
            + "the last whole space. DETAIL says what it is.",
        fix:
            "Look at the health address of hds-ediscovery: the consent, the answers of the KMS, the worker's database and its "
            + "disk. It goes on by itself when that is mended.",
        clears: "when the work goes on")
    package static let ediscoveryUpkeep = Alarm(
        "HDS-EDISCOVERY-UPKEEP", "43db5abbf24d4ffa89441141f253d801", .warning,
        title: "the eDiscovery worker does not fetch files or does not destroy what it should",
        text:
            "For a minute and more something has been in the way: files of messages are not fetched into the mirror, or what retention, "
            + "a purge or an erasure wants is not destroyed here or at the core. Nothing is lost; it is tried again. DETAIL says what it is.",
        fix:
            "Look at the health address of hds-ediscovery: the link, the consent, the disk. If the core refuses to delete, give the "
            + "service's account the scope content:remove (hds-auth add-service). It goes on by itself when that is mended.",
        clears: "when a whole turn succeeds")
}
