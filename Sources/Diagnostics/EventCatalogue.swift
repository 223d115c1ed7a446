// The declared events of the project. Ids and MESSAGE_IDs never change and are never used twice; a new event gets
// its MESSAGE_ID from `systemd-id128 new`.
extension Event {
    // MARK: life of a service

    package static let ready = Event(
        "HDS-READY", "ed8a80b27c0e45748ae492db95cf513d", .notice,
        "@SERVICE@ @VERSION@ is ready (@DURATION_US@ us after its start); health at @ADDRESS@",
        explanation: "The service has loaded its keys, reached what it needs and takes work.")
    package static let readyDegraded = Event(
        "HDS-READY-DEGRADED", "4a5efd317a4e4b2fa35ed18e0ab959d3", .warning,
        "@SERVICE@ @VERSION@ started although @DETAIL@",
        explanation: "The configuration allows this service to start while something it needs is away.",
        fix: "Look at the health address for the failing check; the service recovers by itself once it passes.")
    package static let stopping = Event(
        "HDS-STOPPING", "0b37a024eb7a46e38cb072b5cd952fdd", .notice, "@SERVICE@ drains: @REASON@",
        explanation: "The service takes no new work, answers what is in flight and ends.")
    package static let stopped = Event(
        "HDS-STOPPED", "b69e28c1d0034dc78b8ee05d14f791c7", .notice, "@SERVICE@ stopped, everything was answered",
        explanation: "All work in flight was answered before the service ended.")
    package static let drainDeadlinePassed = Event(
        "HDS-DRAIN-DEADLINE", "a508b7189f424e6d9b946f1bc34ef92a", .error,
        "@SERVICE@ stopped with work unanswered: the drain took longer than @DURATION_US@ us",
        explanation: "Work was still in flight when the drain deadline passed. Clients send unanswered requests again.",
        fix: "Find what was slow (database, link) and raise runtime.drain-deadline together with TimeoutStopSec.")
    package static let startFailed = Event(
        "HDS-START-FAILED", "7e5672a0253c4275b7cb2827ff93dae0", .critical, "@SERVICE@ can not start: @REASON@",
        explanation: "The service met something that it can not work with and ended.",
        fix: "The message says what was expected, what was found and what to do.")
    package static let serviceFailed = Event(
        "HDS-SERVICE-FAILED", "5cb1c58758184ea49e525b9888a2a8ad", .critical, "@SERVICE@ ends: @REASON@",
        explanation: "A part of the service failed and the service can not go on; systemd starts it anew.",
        fix: "If it happens again, send the journal of the last minutes to support.")
    package static let serviceDown = Event(
        "HDS-SERVICE-DOWN", "4e0b8a1f7c3d4b6f9a25d8e17c60b3f4", .critical, "@SERVICE@ is down: @DETAIL@",
        explanation:
            "systemd does not start this service again by itself: something has to be changed before. Its work "
            + "is left undone on this machine; other nodes go on.",
        fix: "@FIX@")
    package static let configurationRefused = Event(
        "HDS-CONFIGURATION-REFUSED", "c2bcfc729bf94791bd551c504903fa2e", .critical,
        "the configuration is refused: @REASON@",
        explanation: "The configuration has a key or a value that the service does not understand.",
        fix: "Correct the named line; config/ in the documentation explains every key.")
    package static let reloaded = Event(
        "HDS-RELOADED", "05b3f3f8767a4af280cf8ca113820fa5", .notice, "@SERVICE@ took over @DETAIL@ from @FILE@",
        explanation: "A reload was asked for and the new configuration is in use.")
    package static let selfTestFailed = Event(
        "HDS-SELF-TEST-FAILED", "5e5dbb97790348f7a4570299191e3741", .error, "the self-test failed: @REASON@",
        explanation: "The service could not do a piece of its own work. While this lasts the watchdog is not fed, "
            + "and systemd restarts the service.",
        fix: "The message names what failed; check the database, the disk and the load of the machine.")
    package static let standingWarning = Event(
        "HDS-WARNING", "a4c22c62879a4f6c9d0bd00669da3698", .warning, "@DETAIL@",
        explanation: "The service runs in a way that weakens its promises. The health address shows it as long as it "
            + "lasts.",
        fix: "@FIX@")
    package static let alarmCleared = Event(
        "HDS-ALARM-CLEARED", "f10727b12bf7403d88bda37d072edf62", .notice, "@ALARM_ID@ cleared: @DETAIL@",
        explanation: "The reason for the alarm is gone.")

    package static let journalTrial = Event(
        "HDS-JOURNAL-TRIAL", "dda0955db55e4768bde6c02572464758", .info, "record @COUNT@ of the trial @TRACKING_ID@",
        explanation:
            "Somebody measures whether this machine's journal keeps up with the services (hdsctl journal-trial).")

    // MARK: key management

    package static let kmsRequest = Event(
        "HDS-KMS-REQUEST", "f317d54148da4cc1be988e397cdbc631", .info,
        "@KMS_METHOD@ @KMS_TYPE@ answered @STATUS@ in @DURATION_US@ us",
        explanation: "A request of a client was answered.")
    package static let kmsRefusal = Event(
        "HDS-KMS-REFUSAL", "e0afeb83ef4e46d9b121e856d79d59d9", .notice,
        "@KMS_METHOD@ @KMS_TYPE@ refused with @STATUS@: @REASON@",
        explanation: "A request of a client was refused. The reason is the one that the client was given.")
    package static let kmsFailure = Event(
        "HDS-KMS-FAILURE", "12a662f9558f4380948bc3e2a280f932", .error,
        "@KMS_METHOD@ @KMS_TYPE@ failed with @STATUS@: @REASON@",
        explanation: "The KMS could not answer a request for a reason of its own.",
        fix: "The reason names the store, the peer or the fault inside; the client sends its request again.")
    package static let kmsReset = Event(
        "HDS-KMS-RESET", "a0ac2194b5b64b0cb5dd4548f0f46379", .notice, "a string could not be opened: @REASON@",
        explanation: "A string named a session that is unknown, expired or does not fit, and was answered by a signed "
            + "reset. The client opens a new session.")
    package static let auditOpened = Event(
        "HDS-AUDIT-OPENED", "9e1f64d0c2b84b3a8f7d5e6a1b2c3d40", .notice,
        "the audit trail @FILE@ is open: @DETAIL@; its key has the fingerprint @FINGERPRINT@",
        explanation:
            "Every decision is kept in the audit trail before its answer leaves. Whoever verifies the trail needs "
            + "the fingerprint of the key that signs it.",
        fix: "Keep the fingerprint where nobody who can write to this machine can change it.")
    package static let journalOpened = Event(
        "HDS-JOURNAL-OPENED", "e4c1a9370b5d4f28b6d9037c5f1e8a62", .notice,
        "the journal of removals @FILE@ is open: @DETAIL@",
        explanation:
            "Removals, deletions, freezes and erasures are written there before they take effect. A restore from a backup "
            + "takes them away again with it: keep copies of it as of the audit trail.")
    package static let journalPruned = Event(
        "HDS-JOURNAL-PRUNED", "3f7b0d52c6a84e19b1d4e8590a72c6fd", .notice,
        "the journal of removals @FILE@ was pruned: @DETAIL@",
        explanation:
            "Entries that are older than every backup in the folder, and than journal.keep-days, were dropped: those "
            + "backups have what they say. A backup that is older than that and lies elsewhere is restored with a gap.")
    package static let auditHead = Event(
        "HDS-AUDIT-HEAD", "b5f2a7c8d9e04f1a9c3b6d8e7f0a1b25", .info, "head of the audit trail: @DETAIL@",
        explanation: "A signed statement of where the audit trail's chain is. A journal that is forwarded to another "
            + "machine is a witness: hdsctl audit verify --witness takes these lines.")
    package static let auditDetailsDestroyed = Event(
        "HDS-AUDIT-DETAILS-DESTROYED", "6d0e4c7b91f24a5f8a3c52e7d9b10f64", .notice,
        "the details of the audit records of @DETAIL@ were made unreadable, as audit.details-retention says",
        explanation: "Whom and what the records of that month name can not be told any more, by nobody. The records, "
            + "their pseudonyms and the chain still hold.")
    package static let rootKeyCreated = Event(
        "HDS-ROOT-KEY-CREATED", "05f5ff952c604604a06bec0e719d04c4", .notice,
        "an empty store got its first root key, wrapped by the key encryption key @FINGERPRINT@",
        explanation: "The store was empty, so the KMS made a new root key. This happens once in the life of a store.",
        fix: "If the store was not meant to be empty, stop the service and restore the store before clients write.")
    package static let staticKeyLoaded = Event(
        "HDS-STATIC-KEY-LOADED", "73a855973179497b8652b3a83503d6e1", .info,
        "the static key @KMS_URI@ is in use, fingerprint @FINGERPRINT@",
        explanation: "Clients encrypt the opening of a session to this key.")

    // MARK: officers

    package static let officerCommand = Event(
        "HDS-OFFICER-COMMAND", "c41d7a52b0e94f6a8d1e3b7c5f2a9060", .notice, "officers ordered: @DETAIL@",
        explanation: "A command came over the control socket with the signatures of officers that count for it. It "
            + "stands in the audit trail under AUDIT_ID, with the fingerprint of what was signed.",
        fix: "If no officer did this, take the officer's key out of the file of officers and reload.")

    package static let policyTaken = Event(
        "HDS-POLICY-TAKEN", "6e0b9d3a4c1f4f7e9a25d8c7b3e61f04", .notice, "a signed policy is in force: @DETAIL@",
        explanation: "Which services and compliance officers may get keys is decided by this policy from now on. The "
            + "record AUDIT_ID of the audit trail holds who signed it and what it changed.",
        fix: "If nobody was to change the policy, look who signed it and who can write its file.")

    package static let epochRaised = Event(
        "HDS-EPOCH-RAISED", "e4948d56d1b94a76b83e42bdda8aa169", .warning, "the epoch of the cluster has risen @DETAIL@",
        explanation:
            "A database was promoted, or the promise of synchronous commits was given up. This node works in the "
            + "new epoch from now on and serves no database of a lower one.")

    package static let freezesRestored = Event(
        "HDS-FREEZES-RESTORED", "d310683761db4e63bc42936aeba4119c", .warning,
        "freezes were put back that the promoted database had lost",
        explanation:
            "A database was promoted without all of the log of the one before. What the officers had frozen or lifted "
            + "last was lost in it, and known to this node, which put it back before it released any key.",
        fix: "Compare hdsctl freeze list with what you ordered; everything else that was lost is not known.")

    package static let nodeListTaken = Event(
        "HDS-NODE-LIST", "bf4465efb9574405ae7e8293e2f655b9", .notice, "list of nodes @DETAIL@",
        explanation: "Which nodes there are has changed, by an officer's signature. The core is given the same list.")
    package static let nodeJoinRefused = Event(
        "HDS-NODE-JOIN-REFUSED", "b5e341d78ad24cccb9a5b5531ed6ddf7", .warning,
        "node @NODE@ did not prove the one-time code: @REASON@",
        explanation: "What a new machine left in the database was not made with the code that was handed out. The code "
            + "counts no more.",
        fix: "Invite the node anew. If it happens again, find out who writes to the database.")

    // MARK: link

    package static let linkUp = Event(
        "HDS-LINK-UP", "e8c4d03b8b9b4d9080c90ee94221c307", .notice, "linked to the core at @ADDRESS@",
        explanation: "The outbound connection to the core is established and requests flow.")
    package static let linkDown = Event(
        "HDS-LINK-DOWN", "e94da410982540aa846c080f45ea902b", .warning, "the link to the core ended: @REASON@",
        explanation: "The service connects again by itself, with growing pauses.",
        fix: "If it does not come back, check the network, the proxy and the core's state.")
    package static let linkInspected = Event(
        "HDS-LINK-INSPECTED", "4a24eaaf7a5347f9ba0957f212191a82", .warning,
        "TLS to the core at @ADDRESS@ is inspected by @DETAIL@",
        explanation: "core.inspection lets a device open the TLS of the link. It sees who asks and when; the requests "
            + "themselves are encrypted between clients and KMS. The core has proven itself by a key of its own.",
        fix: "Let the device pass the link without inspection, and remove core.inspection.")
    package static let linkAccepted = Event(
        "HDS-CORE-LINK-ACCEPTED", "11740134c2fc42e18e383f5523f7c479", .notice,
        "the core accepted a link of @NODE@ for @ORGANISATION@",
        explanation: "A service of a customer connected and may answer for its destination.")
    package static let linkRefused = Event(
        "HDS-CORE-LINK-REFUSED", "86cd72c0b28143cbad6ef15c92ce5826", .warning, "the core refused a link: @REASON@",
        explanation: "A service tried to connect and was not let in.",
        fix: "Check the service's token, its organisation and its destination.")
    package static let linkEnded = Event(
        "HDS-CORE-LINK-ENDED", "f915210220374954b19177e3eaa31732", .notice, "the link of @NODE@ ended: @REASON@",
        explanation: "What was delivered and not answered waits for the next link of the same destination.")

    // MARK: eDiscovery worker
    package static let ediscoveryAction = Event(
        "HDS-EDISCOVERY-ACTION", "5bb6888b3c954e738cca6203a2279680", .notice,
        "an officer's command @ACTION@ was @STATUS@ (@DIGEST@)",
        explanation:
            "The command stands in the worker's audit. DIGEST is the audit's chain behind this entry: an audit whose end "
            + "was cut off does not have it any more.")
    package static let ediscoveryFinding = Event(
        "HDS-EDISCOVERY-FINDING", "89be1b7b659d4ee5a4a5c803ac593d69", .warning,
        "the DLP rule @RULE@ found something @COUNT@ times in a message",
        explanation:
            "A message has what a rule under dlp looks for. Which message it was stands in the worker's findings "
            + "(hds ediscovery findings.list), not here.",
        fix: "An officer looks at the finding. If the rule finds what is harmless, change it in hds-ediscovery.yaml.")

    // MARK: calendar connector
    package static let calendarEventRefused = Event(
        "HDS-CAL-EVENT-REFUSED", "696abad59113483f9343b2329b2e7fd5", .error,
        "the core does not take an event of a calendar: @REASON@",
        explanation:
            "The event is left out, so that those behind it go on; the meeting is told again with its next change. hdsctl "
            + "calendar replay USER tells all of a user's meetings again.",
        fix: "The core is of an older release, or there is a fault: tell whoever maintains both.")

    // MARK: people who leave

    package static let userDisabled = Event(
        "HDS-USER-DISABLED", "0e8cb5813149448c90aded62da5e7831", .notice,
        "@USER_ID@ is cut off: the KMS refuses every request, and @COUNT@ of the sessions were ended",
        explanation:
            "The authorization service lists the user as disabled, because somebody ordered it or because the directory "
            + "does not have the person any more. Clients erase their keys when they are told (hdsctl user status).",
        fix: "If it is a mistake: hdsctl user enable.")
    package static let userEnabled = Event(
        "HDS-USER-ENABLED", "2b839b0b19df429883d3e4d8ee6ebec2", .notice,
        "@USER_ID@ is not disabled any more and can sign in again",
        explanation: "The authorization service does not list the user as disabled any more.")

    // MARK: authorization service

    package static let signedIn = Event(
        "HDS-AUTH-SIGNED-IN", "b48c1c2f4092466daa9c87d4a8670664", .info, "@SUBJECT@ signed in for @CLIENT_ID@",
        explanation: "A user gave the right password, or signed in at the provider of the address.")
    package static let signInRefused = Event(
        "HDS-AUTH-SIGN-IN-REFUSED", "27ffca59d05244879c34a8e4dada66b6", .notice, "a sign-in was refused: @REASON@",
        explanation: "A user gave a wrong password, or too many attempts were made.")
    package static let tokenRefused = Event(
        "HDS-AUTH-TOKEN-REFUSED", "ab0eaaa84990478ba62a3244f76ae598", .notice, "no token was issued: @REASON@",
        explanation: "A client asked for a token with a grant that is not valid.")
    package static let refreshTokenReused = Event(
        "HDS-AUTH-REFRESH-REUSED", "4ffb9cf0ace5493d921b6f0e7f65869a", .warning,
        "a used refresh token came again: all tokens of that sign-in of @SUBJECT@ are ended",
        explanation: "A refresh token is good for one use. A second use means that somebody copied it.",
        fix: "Ask the user whether a device was lost; the user signs in again.")
    package static let providerRefused = Event(
        "HDS-AUTH-PROVIDER-REFUSED", "92ee98f33ca1499f80f9304456d880a7", .notice,
        "a sign-in at the provider @ISSUER@ does not count: @REASON@",
        explanation:
            "Somebody came back from a provider without an answer that counts, or with one for whom there is no "
            + "account, or the provider could not be asked. docs/login.md lists the reasons.")
    package static let providerAddressTaken = Event(
        "HDS-AUTH-PROVIDER-ADDRESS-TAKEN", "68262179fc31402c8b8df728a634bca4", .warning,
        "another subject of the provider @ISSUER@ says the address of @SUBJECT@",
        explanation: "The account is linked with one subject of the provider, and another one came with its address: a "
            + "mailbox that somebody else got, a person who was entered anew, or a provider that lets people choose "
            + "addresses. The account was not opened.",
        fix:
            "When it is the same person: hds-auth unlink --user ADDRESS, and the next sign-in links anew. Else look at "
            + "the provider.")
    package static let providerLinked = Event(
        "HDS-AUTH-PROVIDER-LINKED", "fa805e3c31b641d08f5e9d2a173da270", .notice,
        "@SUBJECT@ is from now on a subject of the provider @ISSUER@",
        explanation: "The first sign-in at a provider ties the account to the provider's own name for the person.")
    package static let providerSignedOut = Event(
        "HDS-AUTH-PROVIDER-SIGNED-OUT", "f0ad1433d79448bb9465d84eba337ca5", .info,
        "the provider @ISSUER@ ended the logins of @SUBJECT@",
        explanation: "The user was signed out at the provider; access and refresh tokens of those logins have ended.")
    package static let signingKeyRolled = Event(
        "HDS-AUTH-KEY-ROLLED", "8f526f1bf6324116af68391d01f023d0", .notice,
        "tokens are now signed with the key @FINGERPRINT@",
        explanation: "The authorization service changed its signing key; the old one stays published until its last "
            + "token has expired.")

    package static let cutOff = Event(
        "HDS-DIRECTORY-CUT-OFF", "bca1d3df714c446e956cf9ba29da8ba6", .notice,
        "@SUBJECT@ is cut off: @REASON@",
        explanation:
            "The account is disabled, its logins have ended, its tokens are on the list of revocations, and the KMS, which "
            + "reads that list, refuses the user. An operator ordered it, or a directory does not have the person any more.",
        fix: "If it is a mistake: hdsctl user enable, or correct the directory.")
    package static let letIn = Event(
        "HDS-DIRECTORY-LET-IN", "9197571c30cb41ad84f971a5f331ab0c", .notice, "@SUBJECT@ can sign in again: @REASON@",
        explanation: "What cut the user off is gone: an operator lifted it, or the directory has the person again.")
    package static let wipeOrdered = Event(
        "HDS-CLIENT-WIPE-ORDERED", "6a33354730b44334877ad40ccc74c417", .notice,
        "clients of @SUBJECT@ are to be wiped: @COUNT@",
        explanation:
            "Their logins are over. Each erases what it keeps when it asks for new tokens next, or at once when the core "
            + "brings it the word.",
        fix: "hdsctl user status shows which have.")
    package static let clientWiped = Event(
        "HDS-CLIENT-WIPED", "d1e6a742c70f42b988e00eeca71d51ff", .notice,
        "a client (@CLIENT_ID@) of @SUBJECT@ has erased what it kept",
        explanation: "It was ordered to, and proved with a refresh token of its login that it is the one.")
    package static let directoryRead = Event(
        "HDS-DIRECTORY-READ", "cb8ea5b6a8014b659e77a17b64eef282", .info, "the directory was read: @DETAIL@",
        explanation: "A whole reading of a directory brought changes.")

    /// Every event, in the order of the documentation page.
    package static let all: [Event] = [
        .ready, .readyDegraded, .stopping, .stopped, .drainDeadlinePassed, .startFailed, .serviceFailed, .serviceDown,
        .configurationRefused, .reloaded, .selfTestFailed, .standingWarning, .alarmCleared,
        .journalTrial,
        .kmsRequest, .kmsRefusal, .kmsFailure, .kmsReset, .auditOpened, .journalOpened, .journalPruned, .auditHead,
        .auditDetailsDestroyed,
        .rootKeyCreated, .staticKeyLoaded, .officerCommand, .policyTaken, .epochRaised, .freezesRestored,
        .nodeListTaken,
        .nodeJoinRefused, .userDisabled, .userEnabled, .linkUp, .linkDown,
        .linkInspected, .linkAccepted, .linkRefused, .linkEnded, .ediscoveryAction, .ediscoveryFinding,
        .calendarEventRefused, .signedIn, .providerRefused,
        .providerAddressTaken, .providerLinked, .providerSignedOut,
        .signInRefused, .tokenRefused,
        .refreshTokenReused,
        .signingKeyRolled, .cutOff, .letIn, .wipeOrdered, .clientWiped, .directoryRead,
    ]
}
