import Diagnostics
import EDiscoveryCollection
import EDiscoveryModel
import KMSClient
import KMSProtocol
import LinkedService
import SecretMemory
import WireText

/// Keys of messages, each asked for on behalf of somebody who could read it, in the officer's name and matter (security model,
/// rule 11); without an officer for the service itself, by its own consent. Kept for five minutes at most, by key and person.
actor ContentKeys: TextOpening {
    /// The KMS does not take the officer for one any more: the report ends.
    struct OfficerRefused: Error { let reason: String }

    private enum Outcome {
        case key(KMSKey)
        case problem(Problem)
    }

    private let kms: any KMSAsking
    private let officer: String?
    private let matter: String?
    private let now: @Sendable () -> Timestamp
    private var held: [String: (outcome: Outcome, until: Timestamp)] = [:]
    /// Of those who could read a message, so many are tried.
    private static let mostReaders = 3

    private let files: CollectedFiles?
    private let sealing: @Sendable () async throws -> SymmetricKey

    init(
        _ kms: any KMSAsking, officer: String?, matter: String? = nil, files: CollectedFiles? = nil,
        sealing: @escaping @Sendable () async throws -> SymmetricKey,
        now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        self.files = files
        self.sealing = sealing
        self.kms = kms
        self.officer = officer
        self.matter = matter
        self.now = now
    }

    /// Only the key is waited for in turn: opening uses every core.
    nonisolated func text(
        _ text: EncryptedText, keyURI: String, onBehalfOf readers: [String]
    ) async throws -> Result<String, Unopened> {
        switch try await key(keyURI, for: readers) {
        case .failure(let unopened): return .failure(unopened)
        case .success(let key):
            do throws(DiagnosedError) {
                return .success(try text.text(with: key.key))
            } catch {
                return .failure(Unopened(Problem(.decryptFailed, "it does not open under the key that it names")))
            }
        }
    }

    func file(
        _ file: SpaceLog.File, _ place: FilePlace, keyURI: String, onBehalfOf readers: [String]
    ) async throws -> Result<OpenedFile, Unopened> {
        guard let files, let encrypted = file.record else {
            return .failure(Unopened(Problem(.fileMissing, "its message names no key for the file")))
        }
        switch try await key(keyURI, for: readers) {
        case .failure(let unopened): return .failure(unopened)
        case .success(let key):
            let record: SecureContentRecord
            do throws(DiagnosedError) {
                record = try SecureContentRecord(opening: encrypted, with: key.key)
            } catch {
                return .failure(Unopened(Problem(.decryptFailed, "the record of the file's key does not open")))
            }
            return try await files.check(record, place, under: sealing())
        }
    }

    private func key(_ uri: String, for readers: [String]) async throws -> Result<KMSKey, Unopened> {
        var problem = Problem(.keyDenied, "nobody is known who could read it")
        for reader in officer == nil ? [""] : readers.prefix(Self.mostReaders) {
            switch try await key(uri, reader) {
            case .key(let key): return .success(key)
            case .problem(let found): problem = found
            }
            guard problem.problemClass == .keyDenied else { break }
        }
        return .failure(Unopened(problem))
    }

    private func key(_ uri: String, _ reader: String) async throws -> Outcome {
        let name = "\(uri) \(reader)"
        if let held = held[name], now() < held.until { return held.outcome }
        let outcome: Outcome
        do {
            let answer = try await kms.perform(
                .useKey(uri, .content), on: officer.map { .init(of: reader, officer: $0, matter: matter) })
            guard case .key(let key) = answer.body else {
                throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS gave no key")
            }
            outcome = .key(key)
        } catch let refusal as KMSRefusal {
            outcome = .problem(try Self.problem(refusal))
        }
        if held.count >= 10_000 { held = held.filter { now() < $0.value.until } }
        if held.count >= 10_000 { held = [:] }
        held[name] = (outcome, now().adding(seconds: Consent.freshness))
        return outcome
    }

    /// Throws what passes, or stops the whole report.
    private static func problem(_ refusal: KMSRefusal) throws -> Problem {
        for rule in ["not-an-agent", "agent-expired", "agent-matter", "on-behalf-not-covered"]
        where refusal.reason.contains(rule) {
            throw OfficerRefused(reason: "the KMS refuses to give keys for this officer and matter: \(rule)")
        }
        switch refusal.status {
        case KMSStatus.forbidden where refusal.reason.contains("no-consent") || refusal.reason.contains("consent-"):
            throw refusal.diagnosed
        case KMSStatus.forbidden: return Problem(.keyDenied, "the KMS does not give its key for a participant")
        case KMSStatus.notFound: return Problem(.keyUnknown, "the KMS does not have its key")
        case KMSStatus.notImplemented: return Problem(.foreignOrg, "its key belongs to another organisation")
        default: throw refusal.diagnosed
        }
    }
}
