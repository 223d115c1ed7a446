package import Diagnostics
import KMSClient
import KMSProtocol
import WireText

// Texts, out and in.
extension Spaces {
    /// Encrypts and posts one text. Throws when no key may be used, and sends nothing then.
    @discardableResult
    package func post(_ text: String, in space: Space) async throws -> Int64 {
        try Self.checkLength(text)
        let key = try await writingKey(of: space)
        let encrypted = try EncryptedText(encrypting: text, under: key.key)
        return try await send(.post(encrypted, keyURI: key.uri), to: space).sequence
    }

    /// Gives one of one's own messages another text; others see that it was edited. `id`: of the message.
    @discardableResult
    package func edit(_ id: String, to text: String, in space: Space) async throws -> Int64 {
        try Self.checkLength(text)
        let key = try await writingKey(of: space)
        let encrypted = try EncryptedText(encrypting: text, under: key.key)
        return try await send(.edit(message: id, encrypted, keyURI: key.uri), to: space).sequence
    }

    /// Deletes one of one's own messages, or what one shared, with all that its edits said.
    package func delete(_ id: String, in space: Space) async throws {
        _ = try await send(.delete(message: id), to: space)
    }

    /// The entry of that number, as `hds read` shows it.
    package func entry(_ number: Int64, in space: Space) async throws -> SpaceEntry {
        let found = number < 1 ? nil : try await page(of: space, since: number - 1, limit: 1).entries.first
        guard let found, found.sequence == number else {
            throw DiagnosedError(
                .messageUnknown, fault: .client, "there is no message of this number in the space",
                found: "\(number)", hint: "hds read shows the number of each message")
        }
        return found
    }

    package static func checkLength(_ text: String) throws(DiagnosedError) {
        guard text.utf8.count <= EncryptedText.maximumLength else {
            throw DiagnosedError(
                .textTooLong, fault: .client, "a message is too long",
                expected: "at most \(EncryptedText.maximumLength) octets", found: "\(text.utf8.count)",
                hint: "send it as a file")
        }
    }

    /// Sends what needs no answer of the KMS; again under the same name while nobody knows whether it was taken.
    func send(_ draft: CloudService.Draft, to space: Space) async throws -> Activity {
        let step = UUIDText.random()
        return try await persistently { [cloud] in try await cloud.append(draft, to: space.id, step: step) }
    }

    /// Again while the core can not be reached, a few times: for what may reach it twice.
    func persistently<R: Sendable>(_ body: () async throws -> R) async throws -> R {
        var attempt: Int64 = 0
        while true {
            do {
                return try await body()
            } catch let error as DiagnosedError where error.code == .cloudUnavailable && attempt < 4 {
                try await sleep.milliseconds(250 << attempt)
                attempt += 1
            }
        }
    }

    /// One page of the space after a sequence number, decrypted; nil for `next` when there is no more.
    package func page(
        of space: Space, since: Int64, limit: Int = 200
    ) async throws -> (entries: [SpaceEntry], next: Int64?) {
        let page = try await cloud.activities(in: space.id, since: since, limit: limit)
        let ordered = page.items.filter { $0.sequence > since }.sorted { $0.sequence < $1.sequence }
        try await keys.prefetch(ordered.compactMap(\.keyURI))
        var entries: [SpaceEntry] = []
        for activity in ordered { if let entry = try await entry(activity, in: space) { entries.append(entry) } }
        let isLast = page.items.isEmpty || page.next <= since
        return (entries, isLast ? nil : page.next)
    }

    func entry(_ activity: Activity, in space: Space) async throws -> SpaceEntry? {
        let content: SpaceEntry.Content
        switch activity.kind {
        case .add(let person): content = .added(person: person)
        case .leave(let person): content = .left(person: person)
        case .updateKey: content = .keyChanged
        case .other: return nil
        case .tombstone: content = .tombstone
        case .delete(let message): content = .deleted(message: message)
        // Its text went with the message.
        case .edit(_, nil): return nil
        case .edit(let message, let text?):
            content = try await opened(activity, in: space) { .edited(message: message, try text.text(with: $0.key)) }
        case .post(let text):
            content = try await opened(activity, in: space) { .text(try text.text(with: $0.key)) }
        case .share(let files):
            content = try await opened(activity, in: space) { key in
                .files(
                    try files.map { file in
                        SpaceFile(
                            name: try file.name.text(with: key.key), size: file.size,
                            record: try SecureContentRecord(opening: file.record, with: key.key))
                    })
            }
        }
        return SpaceEntry(
            id: activity.id, sequence: activity.sequence, published: activity.published, actor: activity.actor,
            content: content, edited: activity.edited)
    }

    /// Decrypts with the key that the activity names, when the KMS says that it belongs to this space.
    private func opened(
        _ activity: Activity, in space: Space, _ open: (KMSKey) throws -> SpaceEntry.Content
    ) async throws -> SpaceEntry.Content {
        guard let uri = activity.keyURI else { return .unreadable("no key is named for it") }
        do {
            let key = try await keys.key(uri)
            guard key.resourceURI == space.resource else {
                return .unreadable("it is encrypted with a key of another space")
            }
            return try open(key)
        } catch let refusal as KMSRefusal {
            return .unreadable("the KMS refuses its key: \(refusal.status) \(refusal.reason)")
        } catch let error as DiagnosedError where error.code == .contentUnreadable || error.code == .kmsMismatch {
            return .unreadable(error.summary)
        }
    }
}
