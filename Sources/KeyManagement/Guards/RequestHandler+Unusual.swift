import KMSProtocol
import WireText

// What users do more of than usual, told to the log (`UnusualBehaviour`).
extension RequestHandler {
    func noteRead(_ caller: Caller, _ outcome: KeyManagement.Outcome, _ now: Timestamp) {
        let found = unusual.noteRead(caller, keys: outcome.body.keyCount, space: outcome.space, now: now)
        for found in found { tell(found, caller.tokenUser) }
    }

    /// A device that opened a session.
    func noteDevice(_ device: String, of user: String, _ now: Timestamp) {
        guard let found = unusual.noteDevice(device, of: user, keyManagement.inForce.current.values, now: now) else {
            return
        }
        tell(found, user)
    }

    /// A refusal: of a person whose token was good, because of what was asked.
    func noteUnusual(_ entry: RequestLogEntry, _ answer: KMSAnswer, _ now: Timestamp) {
        guard entry.isPerson, let user = entry.user else { return }
        let values = keyManagement.inForce.current.values
        let found: UnusualBehaviour.Found? =
            switch answer.status {
            case KMSStatus.forbidden, KMSStatus.notFound: unusual.noteRefusal(user: user, values, now: now)
            case KMSStatus.tooManyRequests where entry.rule == CallerBudgets.massDeletion:
                unusual.noteMassDeletion(user: user, values, now: now)
            default: nil
            }
        if let found { tell(found, user) }
    }

    private func tell(_ found: UnusualBehaviour.Found, _ user: String) {
        log.unusual(found.anomaly, user: user, count: found.count)
    }
}
