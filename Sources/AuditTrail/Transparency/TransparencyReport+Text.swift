// How a report reads for people; what is signed is the JSON alone.
extension TransparencyReport {
    /// - Parameter key: fingerprint of the key that signed.
    package func text(signedBy key: String) -> String {
        rows(signedBy: key).map { row in
            switch row {
            case .title(let text): "\n" + Self.plain(text)
            case .figure(let name, let number):
                "  " + Self.plain(name)
                    + String(repeating: " ", count: max(1, 60 - name.count - number.count)) + number
            case .sentence(let text): Self.plain(text)
            }
        }.joined(separator: "\n")
    }

    /// One page that loads nothing from anywhere.
    package func html(signedBy key: String) -> String {
        let body = rows(signedBy: key).map { row in
            switch row {
            case .title(let text): "<h2>\(Self.escaped(text))</h2>"
            case .figure(let name, let number): "<p>\(Self.escaped(name)): <b>\(Self.escaped(number))</b></p>"
            case .sentence(let text): "<p>\(Self.escaped(text))</p>"
            }
        }
        return """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8"><title>Transparency report</title>
            <style>body{font-family:sans-serif;max-width:46em;margin:2em auto}</style></head><body>
            <h1>Transparency report</h1>
            \(body.joined(separator: "\n"))
            </body></html>

            """
    }

    private enum Row {
        case title(String)
        case figure(String, String)
        case sentence(String)
    }

    private func rows(signedBy key: String) -> [Row] {
        var rows: [Row] = [
            .sentence("How often keys were given to whom, from \(from) until before \(to)."),
            .sentence("Issued \(issued), signed by the attestation key \(key)."),
            .sentence(
                isComplete
                    ? "Complete: the audit trails of all named nodes hold and cover the period."
                    : "NOT COMPLETE: see under sources what is missing; the true figures may be higher."),
        ]
        func list(_ title: String, _ figures: [Figure], atMost: Bool) {
            rows.append(.title(title))
            if figures.isEmpty { rows.append(.sentence("  none")) }
            rows += figures.map { .figure($0.name, (atMost ? "at most " : "") + String($0.releases)) }
        }
        list("Services, by the consents of the signed policy", services, atMost: false)
        list("Other organisations' KMSs", partners, atMost: false)
        list("Compliance officers, for somebody else", officers, atMost: true)
        rows += [
            .title("Persons"),
            .figure("users of spaces, all together", "at most \(users)"),
            .figure("unnamed holders, all together", "at most \(unnamed)"),
            .figure("users who got a partner's keys, all together", "at most \(fromPartners)"),
            .title("Sources"),
        ]
        for source in sources {
            rows.append(
                .sentence(
                    "node \(source.node): \(source.counted) records counted, trail \(source.trail) "
                        + (source.isVerified ? "verified" : "NOT VERIFIED")
                        + (source.isWitnessed ? ", witnessed" : ", not witnessed")))
            if source.unproven > 0 {
                rows.append(.sentence("  \(source.unproven) records are not signed yet and not counted"))
            }
            rows += source.gaps.map { .sentence("  gap: \($0)") }
        }
        rows += missingNodes.map { .sentence("node \($0): its trail was not given, nothing of it is counted") }
        rows.append(
            .sentence(
                "Counted are answers with keys; an answer about a whole space carries several. Figures about persons "
                    + "are rounded up to \(Self.step). What a node in an attacker's hands released unrecorded is not here."
            ))
        return rows
    }

    /// Names come from trails: no control characters reach a terminal.
    private static func plain(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 32 || $0.value == 127 ? "?" : $0 }))
    }

    private static func escaped(_ text: String) -> String {
        plain(text).map { character in
            switch character {
            case "&": "&amp;"
            case "<": "&lt;"
            case ">": "&gt;"
            case "\"": "&quot;"
            default: String(character)
            }
        }.joined()
    }
}
