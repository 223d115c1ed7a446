import Cryptography
import Diagnostics
import EDiscoveryCollection
import EDiscoveryExport
import EDiscoveryModel
import FoundationEssentials
import Glibc
import KMSClient
import KMSProtocol
import LinkedService
import SecretMemory
import ServiceRuntime
import WireText

/// Makes the exports that were ordered: a package, its volumes, each sealed for the officer's key. What is plain stands in the scratch folder only,
/// and only while an export is made; what a killed worker left there goes at the next turn, and the export is made anew with the same
/// octets.
actor Exporter {
    private let section: ExportsSection
    private let consent: Consent
    private let kms: any KMSAsking
    private let mirror: Mirror
    private let directory: Directory
    private let files: CollectedFiles

    init(
        _ section: ExportsSection, consent: Consent, kms: any KMSAsking, mirror: Mirror, directory: Directory,
        files: CollectedFiles
    ) throws {
        (self.section, self.consent, self.kms) = (section, consent, kms)
        (self.mirror, self.directory, self.files) = (mirror, directory, files)
        for folder in [section.folder.path, section.scratch.path] {
            guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
                throw DiagnosedError(
                    .mirror, fault: .configuration, "a folder for exports can not be made", found: folder,
                    hint: "make it, and give it to the service")
            }
        }
    }

    /// One turn; throws what passes.
    func work() async throws {
        let key = try await consent.sealingKey()
        let orders = try mirror.documents("export", under: key).map { try ExportOrder($0.root) }
        var trouble: (any Error)?
        for order in orders where order.state == .waiting {
            let scratch = section.scratch.path + "/" + order.id, target = section.folder.path + "/" + order.id
            for folder in [scratch, target] { try? FileManager.default.removeItem(atPath: folder) }
            defer { try? FileManager.default.removeItem(atPath: scratch) }
            var done = order
            do {
                done.files = try await make(order, scratch, target, key)
                done.state = .completed
            } catch let refused as ContentKeys.OfficerRefused {
                (done.state, done.reason) = (.failed, refused.reason)
            } catch let error as DiagnosedError where error.fault != .peer && error.fault != .store {
                // What would fail in the same way again ends it.
                (done.state, done.reason) = (.failed, error.description)
            } catch {
                // Tried again; it keeps no other from its turn.
                trouble = trouble ?? error
                continue
            }
            if done.state == .failed { try? FileManager.default.removeItem(atPath: target) }
            try mirror.put("export", order.id, Array(done.text().utf8), under: key)
        }
        try sweep(orders.map(\.id))
        if let trouble { throw trouble }
    }

    /// Folders of exports that are not there any more.
    private func sweep(_ known: [String]) throws {
        for folder in [section.folder.path, section.scratch.path] {
            for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
            where UUIDText.isValid(name) && !known.contains(name) {
                try FileManager.default.removeItem(atPath: folder + "/" + name)
            }
        }
    }

    private func make(
        _ order: ExportOrder, _ scratch: String, _ target: String, _ key: SymmetricKey
    ) async throws -> [ExportOrder.File] {
        guard let report = try mirror.report(order.report, under: key) else {
            throw DiagnosedError(.reportState, fault: .client, "the report was deleted")
        }
        guard let recipient = try section.recipient(order.recipient) else {
            throw DiagnosedError(
                .reportRequest, fault: .client, "the key that the export shall be sealed for is not registered here",
                expected: "a kid of exports.recipients", found: order.recipient)
        }
        for folder in [scratch, scratch + "/volumes", target] {
            guard mkdir(folder, 0o700) == 0 else { throw Self.failure("made", folder) }
        }
        let asked = try report.asked
        let settings = try ExportSettings(
            report: report.id, matter: report.matter ?? "-", created: report.created, formats: order.formats,
            zone: ExportOrder.rules(order.zone), numbering: order.numbering, wantsFiles: asked.includesAttachments)
        let source = ReportSource(
            report, mirror: mirror, directory: directory, files: files, key: key,
            titles: ContentKeys(
                kms, officer: report.officer, matter: report.matter,
                sealing: { [consent] in try await consent.sealingKey() }))
        let package = scratch + "/package"
        _ = try await ReportExport(settings, isDurable: false).write(
            to: package,
            from: ExportSource(
                nextSpace: { try await source.nextSpace() }, nextItem: { try source.nextItem() },
                file: { reference in try source.chunks(of: reference).map { chunks in { try chunks.next() } } })
        ) { [kms] digest in
            guard case .signature(let jws) = try await kms.perform(.createSignature(digest: digest), on: nil).body
            else { throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS gave no signature") }
            return jws
        }
        let volumes = try VolumeSet.write(package, to: scratch + "/volumes", split: order.split)
        var sealed: [ExportOrder.File] = []
        for name in volumes.map(\.name) + [VolumeSet.list] {
            let path = target + "/" + ExportSealer.name(of: name)
            let (octets, digest) = try ExportSealer.seal(scratch + "/volumes/" + name, to: path, for: recipient)
            sealed.append(
                .init(name: ExportSealer.name(of: name), octets: octets, digest: Hexadecimal.encode(digest)))
            unlink(scratch + "/volumes/" + name)
        }
        // The names of the files as well, before the export is said to be there.
        let made = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard made >= 0 else { throw Self.failure("read", target) }
        defer { close(made) }
        guard fsync(made) == 0 else { throw Self.failure("written", target) }
        return sealed
    }

    /// Octets of a sealed file from a place on.
    nonisolated static func octets(of path: String, from offset: Int64, count: Int) throws -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { throw failure("read", path) }
        defer { close(file) }
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let more = pread(file, buffer.baseAddress! + filled, count - filled, off_t(offset) + off_t(filled))
                if more < 0, errno == EINTR { continue }
                guard more > 0 else { break }
                filled += more
            }
        }
    }

    private static func failure(_ what: String, _ path: String) -> DiagnosedError {
        let reason = String(cString: strerror(errno))
        return DiagnosedError(
            .mirror, fault: .store, "a file of an export can not be \(what)", found: "\(path): \(reason)",
            hint: "check exports.folder and exports.scratch: they belong to the service and have space")
    }
}
