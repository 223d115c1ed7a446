import Diagnostics
import EDiscoveryCollection
import EDiscoveryExport
import EDiscoveryModel
import FoundationEssentials
import Glibc
import KMSClient
import LinkedService
import SecretMemory
import ServiceRuntime
import WireText

/// Puts every message that comes into the mirror into the organisation's archive: a mail for each message and for each edit, with its files.
///
/// Into a folder, or on to a mail server. At least once: a file is named by its place, so that a second time it is the same. The service's own consent opens the texts; what it does
/// not open is there without its text, and says so.
actor Archiver {
    private let folder: String
    /// Where the mails go then; nil: they stay in the folder.
    private let journal: MailJournal?
    private let consent: Consent
    private let mirror: Mirror
    private let directory: Directory
    private let files: CollectedFiles
    private let keys: ContentKeys
    private static let page = 50

    init(
        _ section: ArchiveSection, consent: Consent, kms: any KMSAsking, mirror: Mirror, directory: Directory,
        files: CollectedFiles, scratch: String = ""
    ) throws {
        journal = try section.mail.map { try MailJournal($0) }
        folder = section.folder?.path ?? scratch
        (self.consent, self.mirror, self.directory, self.files) = (consent, mirror, directory, files)
        keys = ContentKeys(
            kms, officer: nil, files: files, sealing: { [consent] in try await consent.sealingKey() })
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
            throw DiagnosedError(
                .mirror, fault: .configuration, "the folder of the archive can not be made", found: folder,
                hint: "make it, and give it to the service")
        }
    }

    /// One page; true when there may be more. Throws what passes.
    func work() async throws -> Bool {
        let key = try await consent.sealingKey()
        let page = try mirror.unarchived(limit: Self.page, under: key)
        guard let journal, page.contains(where: { $0.message != nil }) else {
            try await archive(page, key) { _ in }
            return page.count == Self.page
        }
        try await journal.session { session in
            try await archive(page, key) { path in
                try await session.deliver(path)
                unlink(path)
            }
        }
        return page.count == Self.page
    }

    private func archive(
        _ page: [Mirror.Arrival], _ key: SymmetricKey, _ done: (_ path: String) async throws -> Void
    ) async throws {
        var logs: [String: SpaceLog] = [:]
        for arrival in page {
            if let message = arrival.message {
                let space = arrival.place.space
                let log = try logs[space] ?? mirror.log(of: space, under: key)
                logs[space] = log
                if let path = try await put(message.id, arrival, log, key) { try await done(path) }
            }
            try mirror.set("archived", String(arrival.position))
        }
    }

    private func put(_ id: String, _ arrival: Mirror.Arrival, _ log: SpaceLog, _ key: SymmetricKey) async throws
        -> String?
    {
        guard let message = log.messages.first(where: { $0.id == id }) else { return nil }
        let request = try ReportRequest(
            JSONDocument(text: #"{"name":"archive","include":{"attachments":true}}"#).root)
        let collection = SpaceCollection(request, subjects: [], people: directory.person, opener: keys)
        var presence = Presence(log)
        let item = try await collection.item(of: message, in: log.id, &presence)
        let (space, sequence) = (log.id, arrival.place.sequence)
        // The id of a space is the core's word: only a plain one becomes part of a name.
        guard UUIDText.isValid(space) else { return nil }
        let name = "\(space)-\(sequence)"
        let people = log.intervals.keys.sorted().map(directory.person)
        var title: String?
        if let sealed = log.created?.title {
            title = try? await keys.text(sealed.text, keyURI: sealed.keyURI, onBehalfOf: []).get()
        }
        try await ArchiveMessage.write(
            item, in: CollectedSpace(id: space, title: title, participants: people), number: name,
            to: "\(folder)/\(name).eml", scratch: "\(folder)/.\(name)"
        ) { reference in
            try files.chunks(of: reference, under: key).map { chunks in { try chunks.next() } }
        }
        return "\(folder)/\(name).eml"
    }
}

extension Mirror {
    /// Behind the last that was archived, from the beginning of the mirror on.
    func unarchived(limit: Int, under key: SymmetricKey) throws -> [Arrival] {
        try queue.read { db in
            let after = try String.fetchOne(db, sql: "SELECT value FROM setting WHERE name = 'archived'")
            return try Self.arrivals(after: after.flatMap { Int64($0) } ?? 0, limit: limit, key, db)
        }
    }
}
