/// A declared alarm: a state that somebody has to do something about, with what to do.
///
/// An alarm stands from when it is raised until its reason is gone; the health address, the metric `hds_alarm` and
/// the journal show it. The declarations below are the one source of the journal's catalog and of the documentation
/// page. Ids and MESSAGE_IDs never change. Equality is on the id.
package struct Alarm: Sendable, Hashable {
    package let id: String
    /// 32 lower-case hexadecimal digits, of the record that raises it.
    package let messageID: String
    package let severity: Severity
    package let title: String
    /// What it means for the users of the appliance.
    package let text: String
    package let fix: String
    /// When it goes away by itself.
    package let clears: String

    init(
        _ id: String, _ messageID: String, _ severity: Severity, title: String, text: String, fix: String,
        clears: String
    ) {
        self.id = id
        self.messageID = messageID
        self.severity = severity
        self.title = title
        self.text = text
        self.fix = fix
        self.clears = clears
    }

    /// The journal record that raises it, with the explanation and the fix of the alarm.
    package var event: Event {
        Event(id, messageID, severity, MessageTemplate("\(id): \(title): @DETAIL@"), explanation: text, fix: fix)
    }

    package static func == (left: Alarm, right: Alarm) -> Bool { left.id == right.id }
    package func hash(into hasher: inout Hasher) { hasher.combine(id) }
}

extension Alarm {
    package static let cloudUnreachable = Alarm(
        "HDS-CLOUD-UNREACHABLE", "3f2eb93575fe4bab943b59002a63da56", .error,
        title: "the core can not be reached",
        text: "Clients can not reach the KMS while the link is down: new messages can not be opened, spaces can not "
            + "be made. Nothing is lost; requests are sent again.",
        fix: "Check the address of the core, DNS, the firewall and the proxy from this machine: curl -v URL.",
        clears: "when the link is established")
    package static let cloudPinMismatch = Alarm(
        "HDS-CLOUD-PIN-MISMATCH", "a2f5bc32d9ed40a1b3a010d7c75f6c86", .critical,
        title: "the core's certificate is not the pinned one",
        text: "Somebody is between this machine and the core, such as a device that inspects TLS, or the core's "
            + "certificate was changed without notice. The connection was closed; no request was sent. DETAIL has the "
            + "chain that was seen, with the key of each certificate.",
        fix: "Compare the keys in DETAIL with those that the core's operator publishes by another way. Change the pins "
            + "only when they agree. If DETAIL names a device of your own, let it pass the link without inspection "
            + "(docs/networks.md).",
        clears: "when a connection with the right certificate is established")
    package static let cloudAuthentication = Alarm(
        "HDS-CLOUD-AUTH", "bb7dfab344e345ca9b5567e9b4a00c3e", .error,
        title: "the core refuses this service's credential",
        text: "The link is not established because the core or the authorization service does not accept who this "
            + "service says it is.",
        fix: "Check the service's client id and secret file, and that the authorization service knows it.",
        clears: "when the link is established")
    package static let proxyFail = Alarm(
        "HDS-PROXY-FAIL", "8aa82ad40bf74eb598d4b1ba6d49a5d0", .error,
        title: "the proxy opens no tunnel",
        text:
            "Connections that have to go through the proxy are not established. DETAIL names the proxy, the target and "
            + "what the proxy answered. Nothing goes around the proxy.",
        fix: "Check proxy.address, user and password; whether the proxy allows CONNECT to the target; and its log.",
        clears: "when a tunnel to the same target is opened")
    package static let dnsSlow = Alarm(
        "HDS-DNS-SLOW", "b1a221d22ccb4fb08fbbee7d9c8dcb8c", .warning,
        title: "names are looked up slowly",
        text:
            "A connection has ten seconds, and the name service takes a good part of them: links come back late after "
            + "a loss. DETAIL names the host and the time.",
        fix:
            "Check the name servers of this machine (/etc/resolv.conf): one that does not answer costs five seconds for "
            + "each name.",
        clears: "when the same name is found within two seconds")
    package static let certificateExpiry = Alarm(
        "HDS-CERT-EXPIRY", "3df6b236b5234468bae97c26262cdf1e", .warning,
        title: "a certificate expires soon",
        text: "After its end clients refuse the KMS. DETAIL names the certificate and the days left; raised at 30, "
            + "14, 7 and 1 days.",
        fix: "Ask your certificate authority for a new one with the same names, replace the files and reload.",
        clears: "when a certificate with more than 30 days left is in use")
    package static let databaseUnreachable = Alarm(
        "HDS-DB-UNREACHABLE", "e809b45a9570483697f16d62b942e6b6", .critical,
        title: "the database does not answer",
        text: "No request can be answered while the database is away. Nothing acknowledged is lost.",
        fix: "SQLite: check that its disk is mounted and writable, has space, and that its files belong to the "
            + "service's user. PostgreSQL: check that a server that takes writes runs on one of the hosts and "
            + "can be reached from here.",
        clears: "when the database answers again")
    package static let providerUnreachable = Alarm(
        "HDS-AUTH-PROVIDER", "75c66cf925bf4eb6a6bfaf740083355d", .error,
        title: "people can not sign in at a provider",
        text:
            "Who is signed in stays so; new sign-ins at this provider fail until it can be used again. DETAIL names the "
            + "provider of the section providers and says why.",
        fix:
            "Check that this machine reaches the provider (issuer, ca, firewall), that its metadata and keys can be read, "
            + "and that its certificates have not expired.",
        clears: "when the provider can be used again")
    package static let databaseCorrupt = Alarm(
        "HDS-DB-CORRUPT", "5b1f0c7a92d84e36a7c4e8d3f6190b52", .critical,
        title: "the database is damaged",
        text: "What was read is not what was written: a disk, a controller or somebody changed it. Requests that need "
            + "the damaged part get 500, others go on. DETAIL says what was found.",
        fix: "Look for errors of the disk (journalctl -k). Stop the service, keep the database's files as they are "
            + "(SQLite: with -wal and -shm), and restore the newest backup: hdsctl restore.",
        clears: "with the next start on a database that is whole")
    package static let databaseLatency = Alarm(
        "HDS-DB-LATENCY", "e2c94d17b6a54f0b8d3a70c5914fe86d", .warning,
        title: "the database is slow",
        text:
            "More than a tenth of the changes of half a minute took over a quarter of a second, the time that a client "
            + "gives one operation on a key. DETAIL says how many and how long.",
        fix: "Look at the load of the database's disk (iostat -x 1) and for other programs on it. PostgreSQL: look at "
            + "pg_stat_activity, at the way to the synchronous standby and at its disk.",
        clears: "when for half a minute less than a tenth of the changes takes so long")
    package static let databaseTLSWeak = Alarm(
        "HDS-DB-TLS-WEAK", "0d2f6c9be1a74c3c8a54b70e93d1f26a", .warning,
        title: "the connection to the database is not proven",
        text: "Whoever is between this machine and the database can pass himself off as the database, or read what "
            + "travels: sealed records, ids, times and the blind indexes of users. DETAIL names the setting.",
        fix: "Set store.postgresql.tls to verify-full and store.postgresql.ca to the authorities of the server's "
            + "certificate.",
        clears: "with the next start of the service with verified TLS")
    package static let diskLow = Alarm(
        "HDS-DISK-LOW", "fd6b9a452caa42c8bfbddeb69f6713a0", .error,
        title: "a disk is nearly full",
        text: "When it is full nothing can be stored: new keys and sessions are refused. DETAIL names the folder and "
            + "the space left.",
        fix: "Free space or enlarge the disk; never delete files of the key store.",
        clears: "when enough space is free again")
    package static let partnerUnreachable = Alarm(
        "HDS-PARTNER-UNREACHABLE", "467b7c4f67344b47987214a35a3e956f", .warning,
        title: "a partner's KMS can not be asked",
        text: "Own users can not read in spaces of that partner; they get 502 and try again. Nothing else is affected. "
            + "DETAIL names the partner and what was seen.",
        fix:
            "If it lasts, ask the partner's administrator; after a change of certificates compare federation.partners.",
        clears: "when the partner's KMS answers again")
    package static let userContested = Alarm(
        "HDS-USER-CONTESTED", "8ff8f2b7028d4293ac03dc300e862103", .error,
        title: "more than one side claims a user id",
        text:
            "A user id may stand for one person only. Until it is settled whose it is, the partners that claim it are "
            + "refused for this user; an own user goes on without restriction. DETAIL names who claims it.",
        fix:
            "Find out where the user is at home. For a partner's user list the id in that partner's file of users, and in "
            + "no other; ask a partner that claimed an own user why.",
        clears: "with the next start of the service, unless it is claimed again")

    package static let auditBlocked = Alarm(
        "HDS-AUDIT-BLOCKED", "7c0d3b1e9a524f0f8b6e2d1c5a4f3e98", .critical,
        title: "the audit trail is full or can not be written",
        text:
            "Raised at 50 and 80 % of its limit, and when nothing can be kept: then no key is released, for a release "
            + "that nobody can prove is none. Nothing that was kept is lost.",
        fix:
            "Free space on its disk, or export it (hdsctl audit export FOLDER OUT): exported segments are deleted when "
            + "room is needed. Or raise audit.limit-megabytes.",
        clears: "when records are kept again and less than half of the limit is used")
    package static let auditChainBroken = Alarm(
        "HDS-AUDIT-CHAIN-BROKEN", "2a9e61c47f0b4d3e9c85b1d60f7a3e42", .critical,
        title: "the audit trail is not what was written",
        text:
            "Somebody or something changed, removed or put back records. DETAIL names the segment, the line and what was "
            + "expected. A break in older records changes nothing else; one where the trail would go on stops every "
            + "release, and at a start the service.",
        fix:
            "Copy the folder as it is, for whoever looks into it; find out who could write to it. Put the named segment "
            + "back from an export or a backup; hdsctl audit verify tells whether it holds then. If it is lost, move the "
            + "folder away and start a new trail (audit.new-trail-reason), which records the gap.",
        clears: "when the whole trail was verified without a break")
    package static let spaceKeyDue = Alarm(
        "HDS-SPACE-KEY-DUE", "b83d5f2e6a1c47d09e74f0a2c6d91b58", .warning,
        title: "spaces wait for a new key after somebody left",
        text:
            "Who left may still read what is encrypted under the old key if he can get at the ciphertext. No client of "
            + "this project encrypts under it; others may. DETAIL names the spaces as the audit trail does.",
        fix:
            "A member's client binds a new key when somebody writes there next. Ask one of them to write, or delete spaces "
            + "that nobody uses. policy.space-key-due says how long is too long.",
        clears: "when each of these spaces has a new key, nobody on its list, or is deleted")
    package static let auditWitness = Alarm(
        "HDS-AUDIT-WITNESS", "c1f0d52b7a634e0b9b0e6d1f2a8c7e35", .warning,
        title: "a witness of the audit trail does not take its heads",
        text:
            "Requests are answered as always. But what the trail gained since the last head that a witness has could be "
            + "cut off unseen. DETAIL names the witness, the last record that it knows and what was seen.",
        fix:
            "For a file look after its disk; for a time-stamping authority check its address, its certificates and the "
            + "clock of this machine. The newest head is handed over again each minute.",
        clears: "when the witness has the newest head")
    package static let keyReadAnomaly = Alarm(
        "HDS-KEYREAD-ANOMALY", "5a1d7c0e3f5c4e0c9d3b8e1f6a7b2c94", .warning,
        title: "a user does unusually much",
        text:
            "Somebody reads more keys, or from more spaces, within an hour than the policy calls usual, is refused more "
            + "often, comes with more new devices within a day, or deletes as much as is allowed; DETAIL says which. It is "
            + "a new device that fetches history, or a stolen session that copies everything. Only deletions are refused.",
        fix: "Look who it is (hdsctl audit show) and ask. If it is not the user: hds-auth revoke --user ID.",
        clears: "an hour after it was raised, unless it goes on")

    package static let policyRefused = Alarm(
        "HDS-POLICY-REFUSED", "d87a1f5c3b924e6cae40b19d72f5c831", .error,
        title: "a signed policy is refused",
        text: "The policy that was in force stays: a consent that was to be withdrawn still stands, one that was to be "
            + "given does not. After a restart with a policy that is refused no service gets keys. DETAIL says why.",
        fix:
            "Check it where it is signed: hdsctl policy check FILE --officers FILE. Then put it in the place of the old "
            + "one; it is read within seconds.",
        clears: "when a policy is taken")
    package static let policyMissing = Alarm(
        "HDS-POLICY-MISSING", "1b6c0e94f2d74a3d8c5e7a90b4d3f216", .error,
        title: "the file of the signed policy is not there",
        text: "The policy that this process took stays in force; after a restart no service and no compliance officer "
            + "gets keys. Removing the file takes nothing back.",
        fix:
            "Put the signed policy back into its place (policy.file). To allow nothing, sign a policy without services "
            + "under a higher version.",
        clears: "when a policy is taken")

    package static let rotationDue = Alarm(
        "HDS-MASTERKEY-ROTATION-DUE", "4f6a0b7d92c84e15a3d1c86e07b5f92a", .warning,
        title: "the root key is due for a rotation",
        text: "The active version of the root key is older than root-key.rotation-due-days says. Nothing is refused; "
            + "who once got hold of it reads what is sealed under it for as long as it is used.",
        fix: "hdsctl master-key generate, stage, promote: clients notice nothing.",
        clears: "when a younger version is active")
    package static let rotationRunning = Alarm(
        "HDS-MASTERKEY-ROTATION-RUNNING", "a45bf37e274c447e9d469f6531b1d1e5", .info,
        title: "a rotation of the root key or a change of the master key is under way",
        text:
            "A new version waits to be promoted, or everything is sealed again under it in the background, or an older "
            + "master key still opens the root keys; requests are answered as always. DETAIL says which and how far it "
            + "is.",
        fix: "hdsctl master-key status shows what is left; hdsctl master-key promote or undo for a new version, "
            + "hdsctl master-key change-kek --finish for a master key that was replaced.",
        clears: "when nothing stands under the old version, and one master key opens the root keys")
    package static let rotationStalled = Alarm(
        "HDS-MASTERKEY-ROTATION-STALLED", "bd3439b5ce844186b79ea23de1a81ace", .error,
        title: "a rotation of the root key does not come to its end",
        text:
            "Values stand under the old version that can not be sealed again, so it is not retired; or for ten minutes "
            + "none was, or a node has not proved the new version. Requests are answered as always, but for values that "
            + "do not open. DETAIL says which.",
        fix: "hdsctl master-key status says how many and why. Values that do not open were changed in the database: "
            + "find out who can write to it and restore them from a backup. A node that does not prove the new version "
            + "says why in its log.",
        clears: "when nothing stands under the old version, or the step was taken back")
    package static let masterKeyOrphan = Alarm(
        "HDS-MASTERKEY-ORPHAN", "d0e9c3714b5f4a86b2f7a15c96e83d40", .critical,
        title: "values stand under a root key that is not there",
        text:
            "Nobody can open them: what they hold is lost as long as their version of the root key is missing. Rows of "
            + "before a destruction were put back, or a row of the root keys was deleted. DETAIL counts them.",
        fix: "Find out who can write to the database. Restore it from a backup that has that version (hdsctl backup "
            + "list), or remove what was put back.",
        clears: "when every value stands under a version that is there; looked at each minute")
    package static let masterKeyNotEscrowed = Alarm(
        "HDS-MASTERKEY-NOT-ESCROWED", "7e0d4b5f8c1a4a6fb2d93c7e61f05a48", .warning,
        title: "the root keys can not be recovered with shares",
        text:
            "If the master key is lost, every key is. There is no escrow yet, or not every holder has proved within a "
            + "year that he has his share. DETAIL says which.",
        fix: "Make an escrow: hdsctl escrow create. For each share: hdsctl escrow challenge NUMBER; its holder answers "
            + "with hdsctl escrow prove on a machine of his own; hdsctl escrow confirm ANSWER.",
        clears: "when every holder has proved his share")
    package static let backupStale = Alarm(
        "HDS-BACKUP-STALE", "c39e5a2f70b14d8f9a6b1e84d2c7f503", .warning,
        title: "there is no recent backup",
        text:
            "What was stored since the newest backup is lost with the database. DETAIL says how old it is, or why the "
            + "last nightly one failed.",
        fix:
            "Make one: systemctl start hds-backup, which a timer does each night, and copy the files to another place. "
            + "backup.folder and backup.stale-after-hours say where and how often.",
        clears: "when there is a new backup")

    package static let storeRollback = Alarm(
        "HDS-STORE-ROLLBACK", "4b7e19d06c5a4f2e8d31a90b7f62c8e5", .critical,
        title: "the database is not as this KMS left it",
        text:
            "Somebody put back, changed or deleted rows, or the whole database, or a failover lost what was acknowledged. "
            + "No key is released. DETAIL says what was seen first; removing people and freezing go on.",
        fix:
            "Find out who can write to the database, and what was done to it (hdsctl rollback status). If it can not be "
            + "trusted, restore a backup. To go on with it as it is: hdsctl rollback accept GAP --officer-key FILE.",
        clears: "when an officer has accepted exactly what was seen, or in a restored store")
    package static let leaseLost = Alarm(
        "HDS-LEASE-LOST", "c096655b5b5a4af1887083a48ebcd075", .critical,
        title: "this node may not release keys",
        text:
            "Keys leave a node only under a lease of half a second that the database renews. This node has none, so it "
            + "declines what it is asked and the core gives it to other nodes. DETAIL says why.",
        fix: "Do what DETAIL says; hdsctl failover plan shows servers, epoch and leases.",
        clears: "when the lease is held again")
    package static let splitBrain = Alarm(
        "HDS-SPLIT-BRAIN", "d53bc893d3ed4e3c91c88249faee8757", .critical,
        title: "two databases of one cluster take writes, or did",
        text:
            "Another database was promoted, and something still works with the one of a lower epoch. Nothing of it reaches "
            + "a client: core, database and node each refuse the lower epoch. DETAIL says which refused.",
        fix:
            "Stop the server of the lower epoch and make it a standby of the other one: hdsctl failover plan prints how. "
            + "What only it has was acknowledged to nobody. After a restore where nothing else is left: give the restored "
            + "store the epoch that was seen (hdsctl restore --epoch, hdsctl escrow recover --epoch).",
        clears: "when the epoch is the highest one again; at the core when nobody has tried for two minutes")
    package static let versionSkew = Alarm(
        "HDS-VERSION-SKEW", "5162cd41cdcb4546b14a62ef80ccf33d", .warning,
        title: "nodes of different releases work together",
        text: "Neighbouring releases work together, for a rolling restart. DETAIL names the nodes and their releases.",
        fix: "Bring every node to the same release, one after the other.",
        clears: "when all nodes are of one release")
    package static let journalBlocked = Alarm(
        "HDS-JOURNAL-BLOCKED", "5b0f7c91d3e84a6c9d12e6f8a07b4c35", .critical,
        title: "what is taken away can not be written down outside the database",
        text:
            "Removals, deletions, freezes and erasures are refused until the journal takes them: after a restore nobody "
            + "would know of them. Keys are released as always. DETAIL says why.",
        fix: "Free space on the disk of the journal of removals (journal.folder), or look after it.",
        clears: "when the journal takes entries again")

    /// Every alarm, in the order of the documentation page.
    package static let all: [Alarm] = [
        .cloudUnreachable, .cloudPinMismatch, .cloudAuthentication, .cloudThrottled, .proxyFail, .dnsSlow,
        .linkFlapping, .clockSkew,
        .directoryUnreachable, .directoryLeavers, .credentialAge, .sessionStorm, .certificateExpiry, .certificateDomain,
        .certificateChain, .reloadRefused,
        .providerUnreachable, .databaseUnreachable, .databaseCorrupt, .databaseLatency, .databaseTLSWeak, .diskLow,
        .auditBlocked, .auditChainBroken, .auditWitness,
        .spaceKeyDue, .keyReadAnomaly, .policyRefused, .policyMissing, .partnerUnreachable,
        .userContested, .rotationDue, .rotationRunning, .rotationStalled, .masterKeyOrphan, .masterKeyNotEscrowed,
        .backupStale, .storeRollback, .leaseLost, .splitBrain, .versionSkew, .journalBlocked, .redundancyLost,
        .standbyLag, .drillOverdue, .nodeUnlisted, .doctorFailed, .indexConsent, .indexLag,
        .ediscoveryConsent, .ediscoveryStuck, .ediscoveryUpkeep,
        .transcodeConsent, .apiConsent,
        .calendarConsent, .calendarAccount, .calendarLag, .calendarExpiry, .calendarLimit,
    ]
}
