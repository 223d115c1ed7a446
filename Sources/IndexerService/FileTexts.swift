import Diagnostics
import Dispatch
import KMSClient
import SearchProtocol
import SecretMemory
import TextExtraction
import WireText

/// The texts of messages' files: fetched from the core in parts, decrypted, read in a confined process, and kept sealed, so
/// that a search does not read them again.
///
/// A file that can not be had or read is counted by its reason and has no text: it never stops the feed. Only a core that does
/// not answer does, for that passes.
struct FileTexts: Sendable {
    /// What became of a file.
    enum Outcome: Sendable, Hashable {
        case read
        /// In part: over the limit, or the file breaks off.
        case cut
        /// The core does not have it, or it has no key.
        case missing
        /// It is not what its sender encrypted.
        case changed
        case unreadable(Extraction.Reason)

        static let all: [Outcome] =
            [.read, .cut, .missing, .changed] + Extraction.Reason.allCases.map { .unreadable($0) }

        var name: String {
            switch self {
            case .read: "read"
            case .cut: "cut"
            case .missing: "missing"
            case .changed: "changed"
            case .unreadable(let reason): reason.rawValue
            }
        }
    }

    private let search: any SearchAsking
    private let store: SealedStore
    /// Nil: files are not read, by the configuration.
    private let extractor: TextExtractor?
    private let count: @Sendable (Outcome) -> Void
    private let threads = DispatchQueue(label: "hds.index.files", attributes: .concurrent)

    init(
        search: any SearchAsking, store: SealedStore, extractor: TextExtractor?,
        count: @escaping @Sendable (Outcome) -> Void
    ) {
        self.search = search
        self.store = store
        self.extractor = extractor
        self.count = count
    }

    /// The texts of those files of a message that have one.
    func texts(
        of message: FeedMessage, _ records: [SecureContentRecord?], under key: SymmetricKey
    ) async throws -> [String] {
        guard let extractor else { return [] }
        var texts: [String] = []
        for (place, record) in records.enumerated() {
            if let known = try store.fileText(of: message.id, place, under: key) {
                texts.append(known)
                continue
            }
            let (text, outcome) = try await text(of: record, in: message.room, extractor)
            try store.keep(text, of: message.id, place, under: key)
            count(outcome)
            texts.append(text)
        }
        return texts.filter { !$0.isEmpty }
    }

    private func text(
        of record: SecureContentRecord?, in room: String, _ extractor: TextExtractor
    ) async throws -> (String, Outcome) {
        guard let record, let id = record.location.split(separator: "/").last, UUIDText.isValid(id) else {
            return ("", .missing)
        }
        switch try await octets(of: String(id), in: room, record, atMost: extractor.limits.documentSize) {
        case .failure(let outcome): return ("", outcome)
        case .success(let document):
            switch await read(document, extractor) {
            case .text(let text, let isWhole): return (text, isWhole ? .read : .cut)
            case .unreadable(let reason): return ("", .unreadable(reason))
            }
        }
    }

    private enum Fetched {
        case success([UInt8])
        case failure(Outcome)
    }

    private func octets(
        of id: String, in room: String, _ record: SecureContentRecord, atMost limit: Int
    ) async throws -> Fetched {
        var opener: FileOpener
        do { opener = try FileOpener(record) } catch { return .failure(.changed) }
        var document: [UInt8] = []
        while true {
            let part = SearchCall.FilePart(room: room, file: id, offset: UInt64(document.count))
            guard case .part(let octets, let size) = try await search.call(.file(part)) else {
                throw CoreSearch.unavailable("no part of a file")
            }
            guard let octets else { return .failure(.missing) }
            guard size <= UInt64(limit) else { return .failure(.unreadable(.tooLarge)) }
            // Nothing more, or more than there should be: the tag decides.
            guard !octets.isEmpty, document.count + octets.count <= limit else { break }
            do { document += try opener.update(octets) } catch { return .failure(.changed) }
            if UInt64(document.count) >= size { break }
        }
        do { try opener.finish() } catch { return .failure(.changed) }
        return .success(document)
    }

    /// On a thread of its own, for it waits for a process.
    private func read(_ document: [UInt8], _ extractor: TextExtractor) async -> Extraction {
        await withCheckedContinuation { continuation in
            threads.async { continuation.resume(returning: extractor.text(of: document)) }
        }
    }
}
