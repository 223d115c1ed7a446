package import DirectoryModel
import Diagnostics
import Dispatch
import Synchronization
import WireText

/// People and groups of one LDAP server; each look is a connection of its own, on a thread of its own.
package final class LDAPSource: DirectorySource {
    package let name: String
    private let settings: LDAPSettings
    private let queue: DispatchQueue
    /// For waits, which must not hold up a reading.
    private let watching: DispatchQueue

    package init(_ settings: LDAPSettings) {
        self.settings = settings
        name = "ldap:" + settings.name
        queue = DispatchQueue(label: "ldap \(settings.name)")
        watching = DispatchQueue(label: "ldap watch \(settings.name)")
    }

    package func marker() async throws -> String? {
        guard settings.marker != .none else { return nil }
        let settings = settings
        return try await blocking { try Self.marker(settings) }
    }

    package func read() async throws -> DirectoryReading {
        let settings = settings
        return try await blocking { try Self.read(settings) }
    }

    /// By content synchronization where the server does it; else the time goes by.
    package func waitForChange(since marker: String?, upTo time: Duration) async throws {
        let end = ContinuousClock.now + time
        if settings.marker == .contextCSN, let marker {
            let (settings, isStopped) = (settings, StopFlag())
            let hasChanged = await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    watching.async {
                        let news = try? LDAPWatch.wait(
                            settings, marker: marker, until: end, isStopped: { isStopped.isSet })
                        continuation.resume(returning: news ?? false)
                    }
                }
            } onCancel: {
                isStopped.set()
            }
            if hasChanged { return }
        }
        try await Task.sleep(until: end, clock: .continuous)
    }

    private final class StopFlag: Sendable {
        private let flag = Mutex(false)
        var isSet: Bool { flag.withLock { $0 } }
        func set() { flag.withLock { $0 = true } }
    }

    private func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { try body() }) }
        }
    }

    // MARK: -

    private static func marker(_ settings: LDAPSettings) throws(DiagnosedError) -> String? {
        let connection = try LDAPConnection.open(settings)
        let root = LDAPSettings.Search(base: "", filter: "(objectClass=*)")
        var found: [String] = []
        let attribute = settings.marker == .contextCSN ? "namingContexts" : "highestCommittedUSN"
        try connection.search(root, .base, attributes: [attribute], upTo: 1) { found = $0.texts(attribute) }
        guard settings.marker == .contextCSN else { return found.first }
        let base = normalized(settings.people.base)
        guard
            let context = found.filter({ base == normalized($0) || base.hasSuffix("," + normalized($0)) })
                .max(by: { $0.utf8.count < $1.utf8.count })
        else { return nil }
        var marks: [String] = []
        try connection.search(
            .init(base: context, filter: "(objectClass=*)"), .base, attributes: ["contextCSN"], upTo: 1
        ) { marks = $0.texts("contextCSN") }
        return marks.isEmpty ? nil : marks.sorted().joined(separator: " ")
    }

    private static func read(_ settings: LDAPSettings) throws(DiagnosedError) -> DirectoryReading {
        let connection = try LDAPConnection.open(settings)
        var reading = DirectoryReading(people: [])
        var externals: [String: String] = [:]
        let names = settings.attributes
        let attributes = Array(
            Set([names.id, names.userName, names.email, names.name] + settings.disabled.map(\.attribute)))
        try connection.search(settings.people, attributes: attributes, upTo: settings.maximumEntries) { entry in
            guard let person = person(entry, settings) else {
                reading.unusable += 1
                return
            }
            externals[normalized(entry.dn)] = person.external
            reading.people.append(person)
        }
        guard let groups = settings.groups else { return reading }
        try connection.search(
            groups, attributes: [names.id, names.groupName, names.member], upTo: settings.maximumEntries
        ) { entry in
            guard let external = identifier(entry, names.id), let name = entry.texts(names.groupName).first else {
                reading.unusable += 1
                return
            }
            let members = entry.texts(names.member).compactMap { externals[normalized($0)] }
            reading.groups.append(DirectoryGroupEntry(external: external, name: name, members: members))
        }
        return reading
    }

    static func person(_ entry: LDAPConnection.Entry, _ settings: LDAPSettings) -> DirectoryEntry? {
        let names = settings.attributes
        guard let external = identifier(entry, names.id), let email = entry.texts(names.email).first,
            isPlain(email, upTo: 254), email.contains("@")
        else { return nil }
        let name = entry.texts(names.name).first ?? email
        let userName = entry.texts(names.userName).first ?? email
        guard isPlain(name, upTo: 256), isPlain(userName, upTo: 256) else { return nil }
        return DirectoryEntry(
            external: external, userName: userName, email: email, name: name,
            isDisabled: settings.disabled.contains { $0.applies(to: entry.texts($0.attribute)) })
    }

    /// A UUID: as text (`entryUUID`), or as the 16 octets of an `objectGUID`, whose first three fields are little endian.
    static func identifier(_ entry: LDAPConnection.Entry, _ attribute: String) -> String? {
        guard let octets = entry.octets(attribute) else { return nil }
        if attribute.lowercased() == "objectguid" {
            guard octets.count == 16 else { return nil }
            let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
            let digits = Array(Hexadecimal.encode(order.map { octets[$0] }))
            return [0..<8, 8..<12, 12..<16, 16..<20, 20..<32].map { String(digits[$0]) }.joined(separator: "-")
        }
        guard let text = String(validating: octets, as: UTF8.self), isPlain(text, upTo: 256) else { return nil }
        return text.lowercased()
    }

    private static func isPlain(_ text: String, upTo maximum: Int) -> Bool {
        (1...maximum).contains(text.utf8.count)
            && text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }
    }

    /// A DN as it is compared here: without case, and without spaces beside commas and equals signs.
    static func normalized(_ dn: String) -> String {
        dn.lowercased().split(separator: ",", omittingEmptySubsequences: false).map { part in
            part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                .map { $0.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed() }
                .map { String($0) }.joined(separator: "=")
        }.joined(separator: ",")
    }
}
