// Alarms of the link, of the clocks on both its sides, and of what proves this service to others.
extension Alarm {
    package static let cloudThrottled = Alarm(
        "HDS-CLOUD-THROTTLED", "509523f129b444699296e96e0a5232ad", .warning,
        title: "the core takes no more links or requests of this service",
        text: "The core answered that there are too many. Requests wait meanwhile and clients send them again; nothing "
            + "is lost.",
        fix:
            "Look for nodes that should not run (hdsctl node list), then ask the core's operator for the limit of this "
            + "organisation.",
        clears: "when the link is established")
    package static let linkFlapping = Alarm(
        "HDS-LINK-FLAPPING", "825d8b3ee3e341a3948c5269bd872eab", .warning,
        title: "the link to the core is lost again and again",
        text:
            "Each loss costs the clients a delay: their requests are delivered again. Nothing is lost. DETAIL says how "
            + "often and why the last one ended.",
        fix:
            "Look at proxies and firewalls between that end idle or long connections (allow WebSockets, time-outs above "
            + "60 s), at the network, and at restarts of the core: journalctl EVENT_ID=HDS-LINK-DOWN.",
        clears: "when the link has stood for ten minutes")
    package static let clockSkew = Alarm(
        "HDS-CLOCK-SKEW", "7c4205254a47464ea593ade9de42e568", .warning,
        title: "the clocks of this machine and of the core differ",
        text:
            "Tokens and certificates are judged by time: with a wrong clock good ones are refused and old ones are taken. "
            + "DETAIL says by how much they differ; which one is wrong it can not say.",
        fix:
            "timedatectl shows whether this clock is kept by NTP; turn it on (timedatectl set-ntp true) and let the machine "
            + "reach a time server. If this clock is right, tell the core's operator.",
        clears: "when a link is established with clocks that agree")
    package static let credentialAge = Alarm(
        "HDS-CRED-AGE", "094f51c8bfce476e9627dcd00606808b", .warning,
        title: "a credential is old",
        text:
            "The longer a secret has been in use, the more copies of it there may be. DETAIL names the file and its age.",
        fix: "Make a new one where it is issued, put it into the file and reload the service. "
            + "renew-after-days beside it sets the age.",
        clears: "when a newer file is in its place")
    package static let nodeUnlisted = Alarm(
        "HDS-NODE-UNLISTED", "59e53610706344339cd7c5bafea691cc", .error,
        title: "this node is not on the list of nodes",
        text:
            "The core takes links only of nodes that stand on the signed list with their key; others of the cluster answer "
            + "meanwhile. DETAIL says how this node stands.",
        fix:
            "If it is to be a node, compare its fingerprint (hdsctl node list) and let an officer approve it: hdsctl node "
            + "approve NAME FINGERPRINT. If it was removed, stop it.",
        clears: "when the list has this node and the core takes its link")
    package static let sessionStorm = Alarm(
        "HDS-SESSION-STORM", "b9a439de44ce44199524999157d6885e", .warning,
        title: "clients open sessions in a storm",
        text:
            "More sessions are asked for than are allowed; those above are not opened, and their clients try again later. "
            + "Sessions that are open are not affected. DETAIL says how many were turned away.",
        fix:
            "Find out who it is: journalctl KMS_TYPE=EPHEMERAL_KEY_COLLECTION shows devices. One device alone is broken or "
            + "an attack: freeze it (hdsctl freeze --device). Many at once follow a restart of the core or an update of "
            + "clients and end by themselves.",
        clears: "when none was turned away for five minutes")
}
