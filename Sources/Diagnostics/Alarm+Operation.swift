// Alarms of what an operator changes and rehearses: certificates, reloads, redundancy, drills.
extension Alarm {
    package static let directoryUnreachable = Alarm(
        "HDS-DIRECTORY-UNREACHABLE", "f7a36f9aac45423c88210481838e4d9c", .error,
        title: "a directory of people was not read for more than a minute",
        text:
            "Who left meanwhile is not cut off by it. Everybody else signs in and works as before. DETAIL names the "
            + "directory, what was expected and what was found.",
        fix:
            "See that the server runs and that bind-dn, password, ca, base and filter of the directory in hds-auth.yaml are "
            + "right. To cut somebody off meanwhile: hdsctl user disable.",
        clears: "when the directory was read to its end")
    package static let directoryLeavers = Alarm(
        "HDS-DIRECTORY-LEAVERS", "3e70650f894d4b3ea4725937139a3acf", .critical,
        title: "so many people are gone from a directory at once that nobody was cut off",
        text:
            "A half-read directory, a wrong base or filter, or a server that was set up anew looks like this, and so does a "
            + "large lay-off. Until somebody says which it is, those people keep their access. DETAIL says how many.",
        fix:
            "hdsctl directory status names them. If they have left: hdsctl directory accept. If not: correct the "
            + "directory or its section in hds-auth.yaml. One of them at once: hdsctl user disable.",
        clears: "when they are accepted, or the directory has them again")
    package static let certificateDomain = Alarm(
        "HDS-CERT-DOMAIN", "9b11c833103340369f44bf4c305928af", .error,
        title: "a certificate is not for the name that clients ask for",
        text:
            "Clients compare the name and refuse the service; where a proxy shows a certificate of its own to them it does "
            + "not matter. For the static key of the KMS the next start would fail. DETAIL names the certificate, the name "
            + "that is needed and those that it has.",
        fix:
            "Ask your certificate authority for one with that name (subjectAltName dNSName; for the KMS also as common "
            + "name), replace the file and reload.",
        clears: "when the file has a certificate for the name")
    package static let certificateChain = Alarm(
        "HDS-CERT-CHAIN", "3754d4f576b4445583bd3bf81426616e", .error,
        title: "the certificates in a file form no chain",
        text:
            "Clients that do not have the missing certificate refuse the service. It shows what it took last; a reload or "
            + "a start with this file is refused. DETAIL names the file and what is wrong with it.",
        fix:
            "Put the service's own certificate first, then its issuing CA, then that one's issuer, none of them expired; "
            + "then reload.",
        clears: "when the file can be read and is in order")
    package static let reloadRefused = Alarm(
        "HDS-RELOAD-REFUSED", "9b5fdf2c431b44eda6aa4979689f287f", .error,
        title: "a new configuration is refused, the old one stays in use",
        text:
            "A reload was asked for, and nothing of it was taken over: the service works on as before. After a restart "
            + "it may not come up with it. DETAIL says what was expected, what was found and what to do.",
        fix: "Correct what DETAIL names and reload again.",
        clears: "when a reload is taken over")
    package static let redundancyLost = Alarm(
        "HDS-REDUNDANCY-LOST", "f5e6d5e0328047b69410775f0882583a", .error,
        title: "one more loss would stop the service",
        text:
            "The cluster works, but on its last node or without a standby of its database. DETAIL says which part has no "
            + "second one and what was seen last.",
        fix:
            "Bring the node or the standby back (docs/failover.md). A node that will not come back: hdsctl node remove.",
        clears: "when two nodes hold leases and a standby follows the primary")
    package static let standbyLag = Alarm(
        "HDS-STANDBY-LAG", "9163743a85fb48fbb5b026d8ee40d556", .warning,
        title: "the standby is behind the primary",
        text:
            "With asynchronous commits what the standby does not have is lost when it has to take over. With synchronous "
            + "ones nothing is lost, and each commit waits for it. DETAIL says how far it is behind.",
        fix: "Look at the load and the disk of the standby and at the network between the sites; hdsctl failover plan.",
        clears: "when it is less than half as far behind")
    package static let drillOverdue = Alarm(
        "HDS-DRILL-OVERDUE", "889ba9910a444fe586d9412dc7d48222", .warning,
        title: "what has to work in an emergency was not rehearsed for long",
        text:
            "A backup that nobody restored and a failover that nobody tried are hopes. DETAIL says what was last "
            + "rehearsed when, or why the last rehearsal failed. drill.overdue-days says how long is too long.",
        fix: "For a restore: systemctl start hds-restore-drill, which a timer does each week, or hdsctl restore FILE "
            + "--verify; hdsctl drill reports shows what came of it. For a failover: hdsctl failover promote "
            + "--switch-over, and back.",
        clears: "when it was rehearsed")
    package static let doctorFailed = Alarm(
        "HDS-DOCTOR-FAILED", "c7d83f1e5b0a4c62a1f94d7be2680935", .error,
        title: "something that the service needs is not as it should be",
        text:
            "The hourly look (hds-doctor.timer) found it, perhaps before it matters: a file, a certificate, the way to the "
            + "core, a database, the clock. DETAIL names the check, what was seen and what to do.",
        fix: "Do what DETAIL says; hdsctl doctor looks at everything anew. Then: systemctl start hds-doctor.",
        clears: "when a later look passes")
}
