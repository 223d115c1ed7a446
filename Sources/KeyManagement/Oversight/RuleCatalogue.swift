/// What each rule that decides means, in a sentence for the person who asks why, and what an operator can do about it.
///
/// A test reads the sources and holds every rule that they name against this table.
enum RuleCatalogue {
    struct Entry: Sendable {
        let because: String
        /// Nil for what needs nothing.
        let advice: String?

        init(_ because: String, _ advice: String? = nil) {
            self.because = because
            self.advice = advice
        }
    }

    /// The entry of a rule; of those with a name behind a colon, such as `frozen:ID`, the entry of what is before it.
    static func entry(_ rule: String) -> Entry? {
        if let entry = entries[rule] { return entry }
        guard let colon = rule.firstIndex(of: ":") else { return nil }
        if rule.hasPrefix("partner:") { return entry(String(rule[rule.index(after: colon)...])) }
        return entries[String(rule[..<colon]) + ":"]
    }

    static let entries: [String: Entry] = granting.merging(refusing) { first, _ in first }
        .merging(consents) { first, _ in first }

    private static let granting: [String: Entry] = [
        "member": Entry("the user is on the space's own list, or it is the user's own unbound key"),
        "nested": Entry("the user is on the list of a space that is authorized on this one"),
        "public": Entry("the space is open to everybody through /public, which the policy lets count"),
        "anonymous-bearer": Entry("whoever asked had the bearer of an unnamed holder of this space"),
        "partner-decided": Entry("the object is a partner's, and the partner's KMS decided"),
        "session-opened": Entry("the token was good, and its user opened a session"),
        "partner-session-opened": Entry("a configured partner's KMS proved itself and opened a session"),
        "former-member:": Entry("a consented service read, in a matter, keys bound before the former member left"),
        "compliance-officer": Entry("the policy names the user as a compliance officer, who may read for others"),
        "query-key:": Entry("a consented service opened what the key's only owner had sealed for it"),
        "service-consent:": Entry("the policy in force consents to this service reading this space"),
        "officer:": Entry("an officer who has the duty for it signed this command"),
        "master-key:": Entry("a step of a rotation of the root key was taken"),
        "lookup:": Entry("an operator looked something up"),
        "tls-inspection": Entry("the configuration lets a named device inspect the TLS of the link, until a day"),
        "user-cut-off": Entry("the authorization service listed the user as disabled, and the KMS cut him off"),
        "user-let-in": Entry("the authorization service does not list the user as disabled any more"),
        "probe": Entry("the KMS tried whether the audit trail takes records again"),
        "erasure-begun": Entry("officers ordered an erasure, and it began"),
        "erasure-finished": Entry("an erasure that officers ordered came to its end"),
    ]

    private static let addMember = "a member (of a moderated space: a moderator) of the space adds the user"

    private static let refusing: [String: Entry] = [
        "no-master-keys": Entry(
            "the master key of a customer is not administered over this protocol",
            "hdsctl master-key on the KMS's own machine does that"),
        "not-a-member": Entry(
            "the user is not on the space's list, and no nested space and no /public leads there",
            addMember + "; hdsctl access SPACE shows who can read"),
        "unbound-key-of-another": Entry(
            "the key is bound to no space yet, so only who made it may have it",
            "who made the key binds it to the space"),
        "no-such-object": Entry(
            "there is no such object, or it was deleted, or its time is over",
            "a deleted space is not given back; its members make a new one"),
        "user-disabled": Entry(
            "the authorization service lists the user as disabled: by command, or because he left the directory",
            "hdsctl user status ID says by whom and since when; hdsctl user enable ID ends it"),
        "disabled-unknown": Entry(
            "the list of disabled users is not genuine, and then nobody is answered",
            "see to the database; hdsctl status and the journal say what is wrong with it"),
        "frozen:": Entry(
            "an officer has frozen the release of these keys",
            "hdsctl freeze list shows it; an officer ends it with hdsctl freeze lift ID"),
        "freezes-unknown": Entry(
            "the list of freezes can not be read or is not genuine, and then nothing is released",
            "see to the database; hdsctl status and the journal say what is wrong with it"),
        "store-rollback": Entry(
            "rows of the key store were put back, changed or deleted by somebody else, and then nothing is released",
            "hdsctl rollback status says what was seen; an officer ends it with hdsctl rollback accept"),
        "audit-blocked": Entry(
            "the audit trail takes no records, and what can not be recorded is not released",
            "free space on the trail's disk: export the trail with hdsctl audit export, or raise its limit"),
        "journal-blocked": Entry(
            "the journal of removals takes no entries, and what it does not have is not done",
            "free space on its disk, or look after it: HDS-JOURNAL-BLOCKED says why"),
        "internal-error": Entry(
            "the KMS could not judge it, mostly because the key store did not answer",
            "the journal at that time says what failed; clients ask again by themselves"),
        "no-compliance-role": Entry(
            "the request was made for another user, and the policy does not name the asking user as an officer",
            "name the user under agents in the signed policy, if that is meant to be"),
        "on-behalf-changes": Entry("on behalf of another user keys can only be read", "nothing: the user does it"),
        "foreign-on-behalf": Entry("another organisation's KMS is asked for users themselves only", "nothing"),
        "foreign-resource": Entry(
            "a space of another organisation can not be put on a list here", "add its users one by one"),
        "public-is-off": Entry(
            "the policy does not let spaces be opened to everybody", "set publicAuthorizations in the signed policy"),
        "re-adding-needs-newer-session": Entry(
            "the user was removed after this session was opened, and the cloud could have held the request back",
            "who adds the user opens a new session and tries again"),
        "not-a-moderator": Entry(
            "the space is moderated, and the user is no moderator of it", "a moderator does it, or makes the user one"),
        "session-of-another-user": Entry(
            "the token belongs to another user than the session", "the client logs in again and opens a new session"),
        "token-subject-is-a-uri": Entry(
            "the token's subject looks like an object of a KMS, which no user's id may",
            "correct the subject at the authorization service"),
        "anonymous-bearer-not-good": Entry(
            "the bearer of the unnamed holder has ended, was removed, or is of another KMS",
            "a member makes a new anonymous authorization"),
        "anonymous-for-another": Entry("the bearer of an unnamed holder acts for nobody else", "nothing"),
        "anonymous-changes": Entry("the bearer of an unnamed holder only reads keys", "nothing"),
        "anonymous-reads-keys-only": Entry("who is on a list is not for unnamed holders", "nothing"),
        "mass-deletion": Entry(
            "the user has deleted as many spaces as the policy allows in that time",
            "find out whether that was meant; after the time it works again, or raise limits.massDeletion"),
        "agent-missing": Entry(
            "a service asked about somebody else and did not name its compliance officer",
            "the service names the officer in client.credential.userId"),
        "not-its-calendar": Entry(
            "a calendar service reads the calendars that it is on the list of, and no space",
            "nothing: what it asked for is not its own; if it is, its account was changed, and the calendar is made anew"
        ),
        "matter-missing": Entry(
            "a former member's keys are read in a matter, and none was named", "the service names the matter"),
        "bound-after-leaving": Entry(
            "the key was bound after the former member had left", "nothing: it never was the member's"),
        "former-member-reads-keys-only": Entry("of a former member only keys are read", "nothing"),
        "too-many-of-user": Entry("the user asked too much in a minute", "wait, or raise limits.perUserPerMinute"),
        "too-many-of-device": Entry(
            "the device asked too much in a minute", "wait, or raise limits.perDevicePerMinute"),
        "too-many-of-service": Entry(
            "the service asked too much in a minute", "wait, or raise limits.perServicePerMinute"),
        "too-many-openings-of-device": Entry(
            "the device opened too many sessions within an hour", "wait, or raise limits.sessionOpeningsPerDevice"),
        "partner-not-of-domain": Entry(
            "the signed policy names this partner not for the domain of the own user",
            "federation in the policy says which domains share with whom; name the partner there if it is to be"),
        "partner-domain-unknown": Entry(
            "the policy decides about partners by domain, and the own user's is not known",
            "it is known when the user opens a session with a token that has the claim domain, as hds-auth's have"),
        "partner-refused": Entry(
            "a partner's KMS asked for what it may not have", "compare partners in the policy with what was agreed"),
        "unknown-client": Entry(
            "the token was issued to a client that the policy does not name",
            "add the client to personalClients in the signed policy, or name a consent for it"),
        "integration-without-consent": Entry(
            "an integration brought a person's token, and the policy names no consent for that client",
            "add a consent of type api-access that names the client to the signed policy, if it is meant to read"),
        "not-an-agent": Entry(
            "the policy does not name this person as a compliance officer", "add the person under agents"),
        "agent-matter": Entry(
            "this person is a compliance officer for another matter only", "add the matter under agents"),
        "agent-expired": Entry(
            "this person's time as a compliance officer is over", "renew the entry under agents in a new policy"),
    ]

    private static let consents: [String: Entry] = [
        "service-type": Entry(
            "this is for a consented service of another type, acting for itself",
            "compare type in the consent with what the service is"),
        "query-repeated": Entry(
            "a search query came a second time, octet for octet, as somebody sends it who has kept it",
            "nothing: a client seals its query anew each time"),
        "key-for-another-use": Entry(
            "a service used the key for something else before, and keeps to that", "the client makes a key of its own"),
        "not-the-askers-key": Entry(
            "the key of the query is not in a space that is its creator's alone", "the client makes a key of its own"),
        "no-consent": Entry("the policy names no consent for this service", "add the service to the signed policy"),
        "client-mismatch": Entry(
            "the service's token was issued to another client than the consent names",
            "compare client in the consent with the service's configuration"),
        "organisation-not-covered": Entry(
            "the consent is for other organisations", "extend organisations of the consent, if that is meant"),
        "consent-not-yet": Entry("the consent begins later", "wait, or sign a policy with an earlier notBefore"),
        "consent-expired": Entry("the consent is over", "renew notAfter in a new version of the policy"),
        "space-not-covered": Entry("the consent is for other spaces", "add the space to the consent"),
        "operation-not-covered": Entry("the consent is for other operations", "add the operation to the consent"),
        "on-behalf-not-covered": Entry(
            "the consent does not let the service act for somebody else", "set mayActOnBehalf, if that is meant"),
    ]

    /// For decisions without a named rule: what the status says.
    static func entry(status: Int) -> Entry {
        switch status {
        case 200..<300: Entry("the KMS did what was asked")
        case 400:
            Entry("the request was not of a form that the KMS understands", "see the client's version, and its log")
        case 401:
            Entry(
                "the token was not good: expired, withdrawn, or of an issuer that is not trusted",
                "the client logs in again; if it goes on, compare issuers in the configuration")
        case 403: Entry("the user may not do that", "hdsctl access shows who can read the space")
        case 404: Entry("there is no such object", "nothing: it is gone or never was")
        case 405: Entry("the object does not allow this method", "see the client's version, and its log")
        case 409:
            Entry("it contradicts what was done before: an old counter or time, or a key that is bound", "try again")
        case 429: Entry("the user, device or service asked too much in a short time", "wait, or raise limits")
        case 501: Entry("this KMS is not configured for it", "see federation in the configuration")
        case 502: Entry("the partner's KMS did not answer", "see the partner's state and the alarms")
        default: Entry("the KMS could not judge it", "the journal at that time says what failed")
        }
    }
}
