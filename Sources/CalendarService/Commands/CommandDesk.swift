import CalendarBackend
import CalendarProtocol
import CalendarSync
import CalendarTime
import Cryptography
import Diagnostics
import ICalendar
import KMSClient
import KMSProtocol
import LinkedService
import SecretMemory
import WireText

/// Takes users' commands (docs/calendar.md, Commands).
///
/// Rules (security model, 33):
/// 1. What counts is inside the ciphertext: action, meeting, revision, user. It is sealed under the calendar's key, which the
///    connector made for this user and under which nothing else is ever sealed. Keys of series open no command: under them stand
///    texts of invitations, which a stranger may have written in the form of a command.
/// 2. A command is at most five minutes from the connector's clock, and is taken once.
/// 3. Join details lead to configured hosts only. Only what the connector made is deleted.
/// 4. The answer is sealed under the same key. The core learns whether there was one.
struct CommandDesk: Sendable {
    let parts: ConnectorParts
    let held: HeldShares

    /// Octets of an answer; what the link takes is more.
    private static let mostAnswer = 180 << 10

    /// What the core brings back.
    struct Answer: Sendable, Equatable {
        var status = 200
        var reason: String?
        var message: String?

        func encoded() -> [UInt8] {
            var json = JSONWriter(reserving: 2048)
            json.beginObject()
            json.member("status", status)
            json.member("reason", ifPresent: reason)
            json.member("message", ifPresent: message)
            json.endObject()
            return json.bytes()
        }
    }

    struct Refused: Error {
        let status: Int
        let reason: String
        init(_ status: Int, _ reason: String) { (self.status, self.reason) = (status, reason) }
    }

    /// The user that a delivery says to be of, before anything is believed: for who decides which node answers.
    static func user(of octets: [UInt8]) -> String? { (try? JSONDocument(octets).root)?["userId"]?.string }

    func answer(_ octets: [UInt8]) async -> Answer {
        do {
            return try await answered(octets)
        } catch let refused as Refused {
            return Answer(status: refused.status, reason: refused.reason)
        } catch let error as DiagnosedError where error.code == .calendarConsent {
            return Answer(status: 503, reason: "the organisation's consent for this service is missing")
        } catch {
            return Answer(status: 503, reason: "the connector can not do this at present")
        }
    }

    private func answered(_ octets: [UInt8]) async throws -> Answer {
        let limits = JSONDocument.Limits(maximumBytes: 256 << 10)
        guard let root = try? JSONDocument(octets, limits: limits).root, root["type"]?.string == "calendar.command",
            let user = root["userId"]?.string, let message = root["message"]?.string,
            let uri = root["encryptionKeyUrl"]?.string
        else { throw Refused(400, "the command is malformed") }
        guard let known = parts.users.list.users[user] else {
            throw Refused(404, "the connector looks after no calendar of this user")
        }
        guard held.holding(of: user) != nil else { throw Refused(503, "another connector has this user") }
        let state = try await parts.state()
        let key = try await key(uri, of: user, state)
        guard let text = try? EncryptedText(received: message).text(with: key) else {
            throw Refused(400, "the command does not open under its key")
        }
        let command: CalendarCommand
        do throws(DiagnosedError) {
            command = try CalendarCommand(parsing: text)
        } catch {
            throw Refused(400, error.expected.map { "the command has not its form: expected \($0)" } ?? error.summary)
        }
        guard command.userID == user else { throw Refused(403, "the command is another user's") }
        // From here on everything that is answered is sealed.
        let answer = await perform(command, known, state)
        parts.instruments.writes("\(command.action.name) \(answer.outcome.rawValue)")
        var sealed = answer.encoded()
        if sealed.utf8.count > Self.mostAnswer {
            sealed = CalendarAnswer(
                to: command.id, .refused, reason: "the answer is too long: ask for fewer people or days"
            )
            .encoded()
        }
        return Answer(message: try EncryptedText(encrypting: sealed, under: key).jwe)
    }

    /// Rule 1: the key of the user's calendar; the one before it as well, for a client that has not heard of the new one.
    private func key(_ uri: String, of user: String, _ state: SealedState) async throws -> SymmetricKey {
        let known = try await state.user(user)
        guard let known, known.keyURI == uri || known.formerKeyURI == uri else {
            throw Refused(403, "commands are sealed under the calendar's key, and this is another one")
        }
        do {
            return try await parts.keys.key(uri)
        } catch let refusal as KMSRefusal where [403, 404].contains(refusal.status) {
            throw Refused(403, "the KMS does not give the command's key")
        }
    }

    private func perform(
        _ command: CalendarCommand, _ user: ConnectedUser, _ state: SealedState
    ) async -> CalendarAnswer {
        do {
            let now = parts.now()
            guard abs(now.milliseconds - command.issued.milliseconds) <= CalendarCommand.patience * 1000 else {
                return CalendarAnswer(
                    to: command.id, .refused,
                    reason: "the command's time is more than five minutes from the connector's")
            }
            let until = command.issued.adding(seconds: 2 * CalendarCommand.patience)
            guard try await parts.store.isNew(command: command.id, until: until, now: now) else {
                return CalendarAnswer(to: command.id, .refused, reason: "the command was taken before")
            }
            return try await parts.turns.run(user.id) {
                // Time may have gone by before this turn came.
                guard let holding = held.holding(of: user.id),
                    abs(parts.now().milliseconds - command.issued.milliseconds) <= CalendarCommand.patience * 1000
                else {
                    return CalendarAnswer(
                        to: command.id, .refused, reason: "it waited too long and nothing was done: ask again")
                }
                let work = CommandWork(parts: parts, user: user, holding: holding, state: state, id: command.id)
                switch command.action {
                case .putJoinDetails(let meeting, let revision, let join):
                    return try await work.putJoinDetails(meeting, revision, join)
                case .createEvent(let event): return try await work.create(event)
                case .updateEvent(let meeting, let revision, let event):
                    return try await work.update(meeting, revision, event)
                case .deleteEvent(let meeting, let revision): return try await work.delete(meeting, revision)
                case .freeBusy(let from, let to, let emails): return try await work.freeBusy(from, to, emails)
                case .list(let from, let to): return try await work.list(from, to)
                }
            }
        } catch let refused as Refused {
            return CalendarAnswer(to: command.id, .refused, reason: refused.reason)
        } catch is UserRound.LostShare {
            return CalendarAnswer(
                to: command.id, .conflict, reason: "another connector has this user by now: ask again")
        } catch {
            let trouble = Connector.diagnosed(error)
            return CalendarAnswer(
                to: command.id, .refused,
                reason: [trouble.summary, trouble.hint].compactMap { $0 }.joined(separator: ": "))
        }
    }
}
