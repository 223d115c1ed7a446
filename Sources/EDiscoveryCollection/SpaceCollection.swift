package import EDiscoveryModel
package import KMSClient
import WireText

/// Opens texts on behalf of somebody who could read them. What can not be opened is a problem of the item; what is only away
/// for the moment is thrown, and the space is collected anew.
package protocol TextOpening: Sendable {
    func text(_ text: EncryptedText, keyURI: String, onBehalfOf readers: [String]) async throws -> Result<
        String, Unopened
    >
    /// A file's octets, checked whole; `place` is its number in the message.
    func file(_ file: SpaceLog.File, _ place: FilePlace, keyURI: String, onBehalfOf readers: [String]) async throws
        -> Result<OpenedFile, Unopened>
}

/// Which file: the n-th of the message at a place.
package struct FilePlace: Sendable, Hashable {
    package let message: FeedPlace
    package let number: Int

    package init(_ message: FeedPlace, _ number: Int) { (self.message, self.number) = (message, number) }

    /// Under which its octets are read later.
    package var reference: String { "\(message.space)/\(message.sequence)/\(number)" }

    /// As `reference` wrote it.
    package init?(reference: String) {
        let parts = reference.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3, let sequence = UInt64(parts[1]), let number = Int(parts[2]), number >= 0 else {
            return nil
        }
        self.init(FeedPlace(space: String(parts[0]), sequence: sequence), number)
    }
}

/// What is known of a file whose octets are there and are what its sender encrypted.
package struct OpenedFile: Sendable, Equatable {
    package let size: UInt64
    /// SHA-256 of the plaintext.
    package let digest: [UInt8]
    package init(size: UInt64, digest: [UInt8]) { (self.size, self.digest) = (size, digest) }
}

/// Why a text stays closed.
package struct Unopened: Error, Sendable, Equatable {
    package let problem: Problem
    package init(_ problem: Problem) { self.problem = problem }
}

/// What a report finds in one space: the same from the same log, however often.
package struct SpaceCollection: Sendable {
    private let request: ReportRequest
    /// Ids of the subjects, e-mails resolved. Empty: everybody.
    private let subjects: Set<String>
    private let people: @Sendable (String) -> Person
    private let opener: any TextOpening
    private let scan: KeywordScan

    package init(
        _ request: ReportRequest, subjects: Set<String>, people: @escaping @Sendable (String) -> Person,
        opener: any TextOpening
    ) {
        self.request = request
        self.subjects = subjects
        self.people = people
        self.opener = opener
        scan = KeywordScan(request)
    }

    /// All of a space whose messages are in memory.
    package func items(of log: SpaceLog) async throws -> [CollectedItem] {
        var flow = SpaceFlow(self, log)
        let found = try await flow.take(log.messages)
        return try await found + flow.end()
    }

    /// Whether a message is a hit, and what it is then; what is no hit comes with it where it had to be opened.
    func judge(
        _ message: SpaceLog.Message, _ presence: inout Presence, _ space: String
    ) async throws -> (item: CollectedItem?, isHit: Bool) {
        guard isMeant(message) else { return (nil, false) }
        presence.move(to: message.published)
        let custodians = custodians(message.author, presence.ids)
        guard subjects.isEmpty || !custodians.isEmpty else { return (nil, false) }
        var item = try await item(of: message, in: space, &presence)
        let texts = [item.text].compactMap { $0 } + item.history.compactMap(\.text) + item.files.compactMap(\.name)
        // What could not be opened could have the word: it is shown with its problem, never left out.
        guard scan.matches(texts) || (!scan.isEmpty && !item.problems.isEmpty) else { return (item, false) }
        item.custodians = custodians
        if !request.includesHistory { item.history = [] }
        return (item, true)
    }

    /// What stands beside a hit; nil for what shall not be shown.
    func context(
        _ message: SpaceLog.Message, _ opened: CollectedItem?, _ presence: inout Presence, _ space: String
    ) async throws -> CollectedItem? {
        guard request.includesDeleted || message.deletion == nil else { return nil }
        var item = if let opened { opened } else { try await item(of: message, in: space, &presence) }
        item.isContext = true
        return item
    }

    var before: Int { request.before }
    var after: Int { request.after }

    /// Items that are no messages, in their order: what tells of the space itself, who came and who left.
    func events(of log: SpaceLog) async throws -> [CollectedItem] {
        var found: [CollectedItem] = []
        guard scan.isEmpty else { return found }
        if request.kinds.contains(.spaceInfo), let item = try await beginning(log) { found.append(item) }
        if request.kinds.contains(.membership) { found += memberships(log) }
        return found.sorted()
    }

    /// Whether the space has one of the names that were asked for; the problem when its name does not open.
    package func isNamed(_ log: SpaceLog) async throws -> Result<Bool, Unopened> {
        guard let created = log.created, let title = created.title else { return .success(false) }
        if title.keyURI.isEmpty { return .success(request.spaceNames.contains(KeywordScan.folded(title.text.jwe))) }
        let opened = try await opener.text(
            title.text, keyURI: title.keyURI, onBehalfOf: log.readers(at: created.at))
        return opened.map { request.spaceNames.contains(KeywordScan.folded($0)) }
    }

    private func isInRange(_ time: Timestamp) -> Bool {
        request.start.map { $0 <= time } ?? true && request.end.map { time < $0 } ?? true
    }

    private func isMeant(_ message: SpaceLog.Message) -> Bool {
        isInRange(message.published) && (request.includesDeleted || message.deletion == nil)
            && (request.kinds.contains(message.isShare ? .file : .message)
                // What is gone could have been a file.
                || ((message.isGone || message.removal != nil) && request.kinds.contains(.file)))
    }

    private func custodians(_ author: String, _ participants: [String]) -> [String] {
        switch request.role {
        case .author: subjects.contains(author) ? [author] : []
        case .participant: subjects.intersection(participants + [author]).sorted()
        case .recipient: subjects.intersection(participants).subtracting([author]).sorted()
        }
    }

    /// One message with everything that became of it.
    package func item(
        of message: SpaceLog.Message, in space: String, _ presence: inout Presence
    ) async throws -> CollectedItem {
        presence.move(to: message.published)
        let readers = presence.readers
        var item = CollectedItem(
            id: message.id, kind: message.isShare ? .share : .message, space: space, sequence: message.sequence,
            published: message.published, author: people(message.author), parent: message.parent,
            participants: presence.ids.map(people))
        item.deletion = message.deletion.map { .init(at: $0.at, by: people($0.by)) }
        if message.isGone {
            item.problems.append(
                Problem(.decryptFailed, "it was deleted before the worker read it: its content is gone"))
        }
        if let cause = message.removal {
            item.problems.append(
                Problem(.removed, "it was destroyed here: \(UUIDText.isValid(cause) ? "certificate \(cause)" : cause)"))
        }
        if let text = message.text {
            item.text = try await open(text, message.keyURI, readers, &item.problems)
        }
        for edit in message.edits {
            presence.move(to: edit.at)
            item.history.append(.init(text: item.text, until: edit.at, editor: people(edit.by)))
            item.text = try await open(edit.text.text, edit.text.keyURI, presence.readers, &item.problems)
        }
        for (number, file) in message.files.enumerated() {
            let name = try await opener.text(file.name, keyURI: message.keyURI, onBehalfOf: readers)
            if case .failure(let unopened) = name {
                item.problems.append(Problem(.fileName, unopened.problem.text))
            }
            var collected = CollectedFile(name: try? name.get(), mediaType: file.mediaType, size: file.size)
            if request.includesAttachments {
                let place = FilePlace(FeedPlace(space: space, sequence: message.sequence), number)
                switch try await opener.file(file, place, keyURI: message.keyURI, onBehalfOf: readers) {
                case .success(let opened):
                    (collected.size, collected.digest) = (opened.size, opened.digest)
                    collected.reference = place.reference
                case .failure(let unopened): item.problems.append(unopened.problem)
                }
            }
            item.files.append(collected)
        }
        return item
    }

    private func open(
        _ text: EncryptedText, _ keyURI: String, _ readers: [String], _ problems: inout [Problem]
    ) async throws -> String? {
        // An empty key means that the text is plain.
        guard !keyURI.isEmpty else { return text.jwe }
        switch try await opener.text(text, keyURI: keyURI, onBehalfOf: readers) {
        case .success(let text): return text
        case .failure(let unopened):
            problems.append(unopened.problem)
            return nil
        }
    }

    private func memberships(_ log: SpaceLog) -> [CollectedItem] {
        log.memberships.compactMap { event in
            guard isInRange(event.at), subjects.isEmpty || subjects.contains(event.person) else { return nil }
            return CollectedItem(
                id: event.id, kind: event.joined ? .joined : .left, space: log.id, sequence: event.sequence,
                published: event.at, author: people(event.actor), subject: people(event.person),
                participants: log.participants(at: event.at).map(people),
                custodians: subjects.isEmpty ? [] : [event.person])
        }
    }

    private func beginning(_ log: SpaceLog) async throws -> CollectedItem? {
        guard let created = log.created, isInRange(created.at),
            subjects.isEmpty || !custodians(created.by, log.participants(at: created.at)).isEmpty
        else { return nil }
        var item = CollectedItem(
            id: log.id, kind: .spaceCreated, space: log.id, sequence: 0, published: created.at,
            author: people(created.by), participants: log.participants(at: created.at).map(people))
        if let title = created.title {
            item.text = try await open(title.text, title.keyURI, log.readers(at: created.at), &item.problems)
        }
        return item
    }
}
