import ContentInspection
import Diagnostics
import EDiscoveryCollection
import FoundationEssentials
import HTTPClient
import KMSClient
import KMSProtocol
import LinkedService
import SecretMemory
import WireText

/// Looks at messages as they come into the mirror, by the organisation's rules, and acts.
///
/// The service's own consent opens the texts (no officer is behind it). Each message is looked at once: what was found, what is to
/// be destroyed and the place behind it are one transaction. What can not be opened is counted and passed over; what is only away
/// stops the turn.
actor Inspector {
    private let rules: [InspectionRule]
    private let scanner: (any TextScanning)?
    private let scannerActions: Set<InspectionRule.Action>
    private let consent: Consent
    private let keys: ContentKeys
    private let mirror: Mirror
    private let now: @Sendable () -> Timestamp
    /// Told of each finding to be alerted: rule and how often.
    private let found: @Sendable (_ rule: String, _ hits: Int) -> Void
    private let counted: @Sendable (_ outcome: String) -> Void

    static let page = 100

    init(
        rules: [InspectionRule], scanner: (any TextScanning)? = nil, scannerActions: Set<InspectionRule.Action> = [],
        consent: Consent, kms: any KMSAsking, mirror: Mirror,
        now: @escaping @Sendable () -> Timestamp = { .now() },
        found: @escaping @Sendable (_ rule: String, _ hits: Int) -> Void,
        counted: @escaping @Sendable (_ outcome: String) -> Void = { _ in }
    ) {
        (self.rules, self.scanner, self.scannerActions) = (rules, scanner, scannerActions)
        (self.consent, self.mirror, self.now) = (consent, mirror, now)
        keys = ContentKeys(kms, officer: nil, sealing: { [consent] in try await consent.sealingKey() }, now: now)
        (self.found, self.counted) = (found, counted)
    }

    /// One page; true when there may be more.
    func work() async throws -> Bool {
        let key = try await consent.sealingKey()
        let page = try mirror.arrivals(limit: Self.page, under: key)
        for arrival in page {
            let hits = try await look(at: arrival)
            try mirror.inspected(arrival, hits: hits, now: now(), under: key)
            for hit in hits where hit.actions.contains(.alert) { found(hit.rule, hit.count) }
        }
        return page.count == Self.page
    }

    struct Hit: Sendable, Equatable {
        let rule: String
        let count: Int
        let actions: Set<InspectionRule.Action>
    }

    private func look(at arrival: Mirror.Arrival) async throws -> [Hit] {
        guard let message = arrival.message else { return [] }
        var texts: [String] = []
        for text in message.texts {
            guard !message.keyURI.isEmpty else {
                texts.append(text.jwe)
                continue
            }
            guard case .success(let plain) = try await keys.text(text, keyURI: message.keyURI, onBehalfOf: []) else {
                counted("unreadable")
                return []
            }
            texts.append(plain)
        }
        var hits = rules.compactMap { rule in
            rule.hits(in: texts, space: arrival.place.space).map {
                Hit(rule: rule.name, count: $0, actions: rule.actions)
            }
        }
        if let scanner {
            for text in texts where !text.isEmpty {
                guard let verdict = try await scanner.verdict(on: text) else { continue }
                hits.append(Hit(rule: verdict, count: 1, actions: scannerActions))
                break
            }
        }
        counted(hits.isEmpty ? "clean" : "found")
        return hits
    }
}

/// A scanner beside the rules.
protocol TextScanning: Sendable {
    /// What it calls the text when it is not clean. Throws when it does not answer.
    func verdict(on text: String) async throws -> String?
}

/// A scanner over HTTP: it gets the text as `text/plain` by POST, and answers JSON with `verdict`, `clean` or `found`, and `name`.
struct HTTPScanner: TextScanning {
    let client: WebClient
    let url: String

    func verdict(on text: String) async throws -> String? {
        let answer = try await client.send(
            WebRequest(
                method: "POST", url: url,
                headers: [("Content-Type", "text/plain; charset=utf-8"), ("Accept", "application/json")],
                body: Array(text.utf8.prefix(InspectionRule.longest)), timeout: .seconds(10),
                maximumResponseBytes: 16 << 10))
        guard answer.status == 200, let root = try? JSONDocument(answer.body).root else {
            throw Self.wrong("status \(answer.status)")
        }
        switch root["verdict"]?.string {
        case "clean": return nil
        case "found":
            let name = (root["name"]?.string ?? "scanner").unicodeScalars.filter { $0.value >= 0x20 && $0.value < 0x7F }
            return String(String.UnicodeScalarView(name.prefix(60)))
        default: throw Self.wrong("no verdict")
        }
    }

    private static func wrong(_ found: String) -> DiagnosedError {
        DiagnosedError(
            "inspection-scanner", fault: .configuration, "the scanner gives no answer",
            expected: #"status 200 and {"verdict": "clean" or "found", "name"}"#, found: found,
            hint: "see dlp.scanner; messages wait until it answers")
    }
}
