import ArgumentParser
import ControlSocket
import Diagnostics
import WireText

/// One report on a person: what was done at which place in how many milliseconds, and what is out of reach, with the reason.
struct UserReport {
    private struct Step {
        let place: String
        let what: String
        let milliseconds: Int64?
    }

    let user: String
    /// `disable`, `wipe`, `enable` or `status`.
    let verb: String
    private var issuer: JSONNode?
    private var kms: JSONNode?
    private var steps: [Step] = []
    private var troubles: [String] = []

    init(user: String, verb: String) { (self.user, self.verb) = (user, verb) }

    /// Has `verb` done at both places and reports; throws the exit code when one did not do its part.
    static func change(
        _ user: String, _ verb: String, _ places: UserCommand.Places, reason: String? = nil, keepsDevices: Bool = false
    ) throws {
        var report = UserReport(user: user, verb: verb)
        try report.askIssuer(places, "user-" + verb, reason: reason, keepsDevices: keepsDevices)
        report.askKMS(places, "user-cut")
        report.finish(places.json)
        if report.isIncomplete { throw ExitCode(69) }
    }

    private static func clients(_ count: Int64) -> String { count == 1 ? "1 client" : "\(count) clients" }

    /// Something that was to be done was not.
    var isIncomplete: Bool { !troubles.isEmpty }

    private var subject: String { issuer?.text("id") ?? user }
    private var isDisabled: Bool { issuer?["disabled"]?.boolean ?? false }

    mutating func askIssuer(
        _ places: UserCommand.Places, _ command: String, reason: String?, keepsDevices: Bool = false
    ) throws {
        var arguments = ArgumentsWriter()
        arguments.add("user", user)
        arguments.add("reason", reason)
        arguments.add("keepDevices", if: keepsDevices)
        let node = try arguments.node()
        let (answer, took) = try Self.timed {
            try ControlClient(path: places.authSocket).send(command, arguments: node)
        }
        issuer = answer
        for step in answer.nodes("steps") {
            steps.append(Step(place: "hds-auth", what: step.text("what"), milliseconds: step.number("milliseconds")))
        }
        steps.append(Step(place: "hds-auth", what: "answered", milliseconds: took))
    }

    /// A KMS that does not answer is told in the report: the account is disabled all the same, and it follows by itself.
    mutating func askKMS(_ places: UserCommand.Places, _ command: String) {
        guard !places.withoutKMS else { return }
        var arguments = ArgumentsWriter()
        arguments.add("user", subject)
        // Also those of an earlier order that have not been told: they may be there now.
        let waiting = issuer?.nodes("wipes").count { $0["told"]?.string == nil } ?? 0
        arguments.add("wipe", if: command == "user-cut" && waiting > 0)
        do {
            let node = try arguments.node()
            let (answer, took) = try Self.timed {
                try ControlClient(path: places.kms.socket).send(command, arguments: node)
            }
            kms = answer
            if let milliseconds = answer["milliseconds"]?.integer {
                steps.append(
                    Step(
                        place: "hds-kms", what: "signed list read, \(answer.number("sessionsEnded")) sessions ended",
                        milliseconds: milliseconds))
            }
            if let told = answer["wipeTold"]?.boolean {
                if told {
                    steps.append(
                        Step(
                            place: "hds-kms", what: "the core brings the word to clients that are there",
                            milliseconds: nil))
                } else {
                    troubles.append(
                        "the core does not bring clients the word (\(answer.text("wipeTrouble"))); they hear of it when they "
                            + "next ask for tokens")
                }
            }
            steps.append(Step(place: "hds-kms", what: "answered", milliseconds: took))
            for issuer in answer.nodes("issuers") {
                if let trouble = issuer["trouble"]?.string {
                    troubles.append("the KMS could not read the list of \(issuer.text("issuer")): \(trouble)")
                }
            }
            guard verb != "status" else { return }
            if answer.nodes("issuers").isEmpty {
                troubles.append("the KMS reads no list: set authorization.issuers.revocations in hds-kms.yaml")
            } else if (answer["disabled"]?.boolean ?? false) != isDisabled {
                troubles.append("the KMS does not say the same of \(subject) as the authorization service")
            }
        } catch {
            let text = (error as? DiagnosedError)?.description ?? "\(error)"
            troubles.append("the KMS does not answer here, and follows when it reads the list by itself: \(text)")
        }
    }

    private static func timed<Value>(_ body: () throws -> Value) rethrows -> (Value, Int64) {
        let start = ContinuousClock.now
        let value = try body()
        return (value, Int64(start.duration(to: .now) / .milliseconds(1)))
    }

    /// What is left, as far as it is known, each with its end.
    private var remains: [String] {
        var lines: [String] = []
        let open = issuer?.nodes("wipes").count { $0["done"]?.string == nil } ?? 0
        if open > 0 {
            lines.append(
                "\(Self.clients(Int64(open))) not known to be wiped: each erases its keys when it is connected or asks for "
                    + "tokens; one that never comes keeps them, and so may a program that is none of ours")
        }
        guard isDisabled else { return lines }
        lines.append(
            "what devices of \(subject) have shown or copied elsewhere: nobody can take it back; spaces that the person was "
                + "in need a new key (remove the person from the space, HDS-SPACE-KEY-DUE tells)")
        if let end = issuer?["tokensEnd"]?.string {
            lines.append(
                "the core reads no list of revocations: with a JWT for the cloud it relays until \(end); it has no keys"
            )
        }
        if let issuers = kms?.nodes("issuers") {
            let longest = issuers.map { $0.number("everySeconds") }.max() ?? 0
            lines.append(
                "KMSs of other stores that take tokens of this service follow within \(longest) s or what they have set"
            )
            if kms?["sharesStore"]?.boolean == true {
                lines.append("other nodes of this store follow within a second; their sessions are ended already")
            }
            let services = kms?.texts("services") ?? []
            if !services.isEmpty {
                lines.append(
                    "workers (\(services.joined(separator: ", "))): content keys stay in their memory for at most 5 minutes; "
                        + "a search in the person's name finds nothing any more")
            }
            let partners = kms?.texts("partners") ?? []
            if !partners.isEmpty {
                let seconds = issuer?.number("assertionSeconds") ?? 300
                lines.append(
                    "partners (\(partners.joined(separator: ", "))): the protocol has no message for it; they release to "
                        + "the person through this KMS only, which refuses; an assertion that was given out ends within "
                        + "\(seconds) s")
            }
        } else {
            lines.append(
                "the KMS was not asked: it refuses the person when it has read the list, within 10 s by default")
        }
        return lines
    }

    func finish(_ asJSON: Bool) {
        asJSON ? printJSON() : printText()
    }

    private func printText() {
        guard let issuer else { return }
        let name = issuer["email"]?.string.map { "\($0) (\(subject))" } ?? subject
        show(["\(name) is \(isDisabled ? "disabled" : "not disabled")"])
        for order in issuer.nodes("cutOff") {
            show([
                "  by \(order.text("authority")) (\(order.text("by"))) since \(order.text("since")): \(order.text("reason"))"
            ])
        }
        if issuer["disabledByFile"]?.boolean == true { show(["  by the accounts file"]) }
        if verb == "enable", isDisabled { show(["  what others ordered stands; only they lift it"]) }
        if issuer["account"]?.boolean == false { show(["  no account: what is left of an earlier one is ended"]) }
        if let count = issuer["clientsToWipe"]?.integer, count > 0 { show(["  \(Self.clients(count)) to be wiped"]) }
        if verb == "status" {
            let orders = issuer.nodes("wipes")
            if !orders.isEmpty {
                show(["wipes"] + Columns.lines(orders.map(Self.line)))
            }
            show(["logins  \(issuer.number("logins")), opaque tokens \(issuer.number("opaqueTokens"))"])
            if let kms {
                let disabled = kms["disabled"]?.boolean == true
                show([
                    "KMS     \(disabled ? "refuses since \(kms.text("since"))" : "does not refuse"), "
                        + "\(kms.number("sessions")) sessions"
                ])
            }
        } else {
            if let ended = issuer["loginsEnded"]?.integer {
                show(["  \(ended) logins and \(issuer.number("opaqueTokensEnded")) opaque tokens ended"])
            }
            show(["done"])
            show(
                Columns.lines(
                    steps.map { ["  \($0.place)", $0.what, $0.milliseconds.map { "\($0) ms" } ?? "-"] }))
        }
        if !troubles.isEmpty { show(["not done"] + troubles.map { "  \($0)" }) }
        let remains = remains
        if !remains.isEmpty, verb != "enable" { show(["out of reach"] + remains.map { "  \($0)" }) }
    }

    private static func line(_ order: JSONNode) -> [String] {
        let state =
            order["done"]?.string.map { "wiped \($0)" } ?? order["told"]?.string.map { "told \($0), not confirmed" }
            ?? "not seen since"
        return [
            "  \(order.text("client")), login of \(order.text("signedIn"))",
            "ordered \(order.text("ordered")) by \(order.text("by"))", state,
        ]
    }

    private func printJSON() {
        var json = JSONWriter()
        json.beginObject()
        json.member("user", subject)
        json.member("disabled", isDisabled)
        json.name("steps")
        json.beginArray()
        for step in steps {
            json.beginObject()
            json.member("place", step.place)
            json.member("what", step.what)
            if let milliseconds = step.milliseconds { json.member("milliseconds", milliseconds) }
            json.endObject()
        }
        json.endArray()
        json.member("notDone", troubles)
        json.member("outOfReach", remains)
        if let issuer { json.member("authorizationService", issuer) }
        if let kms { json.member("kms", kms) }
        json.endObject()
        print(Terminal.plain(json.text()))
    }
}
