package import ContentInspection
import Diagnostics
package import ServiceRuntime

/// The section `dlp` (data loss prevention): what is looked for in messages as they come.
package struct DLPSection: Decodable, Sendable {
    package let rules: [InspectionRule]
    package let scanner: ScannerSection?

    package enum CodingKeys: String, CodingKey, CaseIterable { case rules, scanner }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        rules = try (section.value(.rules, default: []) as [RuleSection]).map(\.rule)
        scanner = try section.optional(.scanner)
        guard Set(rules.map(\.name)).count == rules.count else {
            throw section.problem(.rules, "two rules of one name: findings tell them apart by it")
        }
        guard !rules.isEmpty || scanner != nil else { throw section.problem(.rules, "expected rules, or a scanner") }
    }

    package struct RuleSection: Decodable, Sendable {
        package let rule: InspectionRule

        package enum CodingKeys: String, CodingKey, CaseIterable {
            case name, cards, accounts, words, patterns, spaces, actions
            case atLeast = "at-least"
        }

        package init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            let name: String = try section.value(.name)
            guard (1...60).contains(name.utf8.count), name.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else {
                throw section.problem(.name, "expected 1 to 60 printable ASCII characters")
            }
            var detectors: [Detector] = []
            if try section.value(.cards, default: false) { detectors.append(.cardNumber) }
            if try section.value(.accounts, default: false) { detectors.append(.bankAccount) }
            let words = WordList(try section.value(.words, default: []))
            if !words.isEmpty { detectors.append(.words(words)) }
            for pattern in try section.value(.patterns, default: []) as [String] {
                do throws(DiagnosedError) {
                    detectors.append(.pattern(try TextPattern(pattern)))
                } catch {
                    throw section.problem(.patterns, error.description)
                }
            }
            guard !detectors.isEmpty else {
                throw section.problem(.name, "expected cards, accounts, words or patterns to look for")
            }
            var actions: Set<InspectionRule.Action> = []
            for text in try section.value(.actions, default: ["alert"]) as [String] {
                guard let action = InspectionRule.Action(rawValue: text) else {
                    throw section.problem(
                        .actions,
                        "expected "
                            + InspectionRule.Action.allCases.map(\.rawValue).joined(separator: " or "))
                }
                actions.insert(action)
            }
            rule = InspectionRule(
                name: name, detectors: detectors, atLeast: try section.value(.atLeast, default: 1, in: 1...1000),
                spaces: Set((try section.value(.spaces, default: []) as [String]).map { $0.lowercased() }),
                actions: actions)
        }
    }
}

/// A scanner of the customer's own that is asked about each text over HTTP.
package struct ScannerSection: Decodable, Sendable {
    package let url: WebAddress
    /// PEM: the only certification authorities that are taken for it; nil for http on this machine.
    package let ca: FileLocation?
    package let actions: Set<InspectionRule.Action>

    package enum CodingKeys: String, CodingKey, CaseIterable { case url, ca, actions }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        url = try section.value(.url)
        ca = try section.optional(.ca)
        guard url.scheme == .https ? ca != nil : url.scheme == .http && url.host.hasPrefix("127.") else {
            throw section.problem(.url, "expected https with ca, or http on 127.0.0.1: it gets plaintext")
        }
        var actions: Set<InspectionRule.Action> = []
        for text in try section.value(.actions, default: ["alert"]) as [String] {
            guard let action = InspectionRule.Action(rawValue: text) else {
                throw section.problem(.actions, "expected alert or remove")
            }
            actions.insert(action)
        }
        self.actions = actions
    }
}
