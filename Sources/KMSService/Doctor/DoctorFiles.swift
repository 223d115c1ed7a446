import Cryptography
import Diagnostics
import Glibc
import KMSProtocol
import LinkedService
import Recovery
import ServiceRuntime
import SignedPolicy
import WireText

/// The files that the service works with: certificate, key store, disks, officers, backups.
struct DoctorFiles {
    private let configuration: KMSServiceConfiguration
    private let credentials: Credentials
    private let health: HealthRegistry
    private let owner: uid_t

    init(
        _ configuration: KMSServiceConfiguration, _ unit: ServiceUnit, _ credentials: Credentials,
        _ health: HealthRegistry
    ) {
        (self.configuration, self.credentials, self.health) = (configuration, credentials, health)
        owner = unit.userID ?? geteuid()
    }

    func checks(now: Timestamp) async -> [DoctorCheck] {
        var checks = await staticKey(now: now)
        checks += await disks()
        if let store { checks.append(store) }
        return checks + [officers, backup(now: now)]
    }

    // MARK: Certificate

    /// By the rules of every deployed client, and by its end.
    private func staticKey(now: Timestamp) async -> [DoctorCheck] {
        let section = configuration.staticKey
        let chain: [Certificate]
        do {
            chain = try section.certificate.certificates()
        } catch {
            return [DoctorCheck("certificate", error)]
        }
        let key = try? credentials.withBytes(of: section.privateKey) { try PrivateKey(pem: $0) }
        var checks: [DoctorCheck] = []
        do throws(DiagnosedError) {
            try KMSCertificateRules.check(
                chain: chain, publicKey: key?.publicKey ?? chain[0].publicKey, host: configuration.host, now: now)
            let own = key == nil ? "; its private key can not be seen from here" : " and of its private key"
            checks.append(
                DoctorCheck("certificate", .pass, "as deployed clients demand it, for \(configuration.host)\(own)"))
        } catch {
            checks.append(DoctorCheck("certificate", error))
        }
        let end = chain.map(\.notAfter).min() ?? chain[0].notAfter
        let bench = HealthRegistry(events: Doctor.Silence(), metrics: MetricRegistry())
        bench.watchCertificate(
            "certificate-expiry", "the certificate of the static key",
            fix: "ask for a new certificate, replace its file and reload", now: { now }, expires: { end })
        return checks + (await bench.lookOnce()).checks.compactMap { DoctorCheck($0) }
    }

    // MARK: Disks and key store

    private func disks() async -> [DoctorCheck] {
        let bench = HealthRegistry(events: Doctor.Silence(), metrics: MetricRegistry())
        var folders = [("disk", configuration.dataFolder), ("disk-audit", configuration.auditFolder)]
        if let backup = configuration.backup?.folder.path { folders.append(("disk-backup", backup)) }
        for (id, folder) in folders {
            bench.watchSpace(of: FileLocation(Self.existing(folder)), check: HealthCheck(id, "the disk of \(folder)"))
        }
        return await bench.lookOnce().checks.compactMap { DoctorCheck($0) }
    }

    /// The folder itself, or the first one above it that is there.
    private static func existing(_ folder: String) -> String {
        var folder = folder
        while folder != "/", access(folder, F_OK) != 0, errno == ENOENT { folder = folder.folder }
        return folder
    }

    /// Of a SQLite file: whose it and its folder are, and who else could read them.
    private var store: DoctorCheck? {
        guard let file = configuration.store.file?.path else { return nil }
        for path in [file.folder, file] {
            var status = stat()
            guard stat(path, &status) == 0 else {
                if errno == ENOENT { return DoctorCheck("store", .pass, "\(path) is made at the first start") }
                return DoctorCheck(
                    "store", .warn, "\(path) can not be looked at: \(String(cString: strerror(errno)))",
                    fix: "run hdsctl doctor as root, or as the service's user")
            }
            guard status.st_uid == owner else {
                return DoctorCheck(
                    "store", .fail, "\(path) belongs to user \(status.st_uid), expected \(owner)",
                    fix: "chown \(owner) \(path)")
            }
            guard status.st_mode & 0o077 == 0 else {
                return DoctorCheck(
                    "store", .fail, "\(path) is open to others: mode 0\(String(status.st_mode & 0o777, radix: 8))",
                    fix: "chmod go= \(path)")
            }
        }
        return DoctorCheck("store", .pass, "\(file) belongs to the service alone")
    }

    // MARK: Officers

    private var officers: DoctorCheck {
        guard configuration.officers.file != nil else {
            return DoctorCheck(
                "officers", .warn, "no officer is enrolled: nobody can sign policies, freezes, an escrow",
                fix: "hdsctl officer create, and officers.file in the configuration (docs/policy.md)")
        }
        do {
            let roster = try EnrolledOfficers(file: configuration.officers.file).roster
            guard !roster.officers.isEmpty else {
                return DoctorCheck(
                    "officers", .warn, "the file of officers is missing or empty: nobody can sign",
                    fix: "hdsctl officer create prints the entry for it")
            }
            return DoctorCheck("officers", .pass, "\(roster.officers.count) enrolled")
        } catch {
            return DoctorCheck("officers", error)
        }
    }

    // MARK: Backups

    private func backup(now: Timestamp) -> DoctorCheck {
        guard let section = configuration.backup else {
            return DoctorCheck(
                "backup", .warn, "no folder for backups is configured", fix: "set backup.folder (docs/recovery.md)")
        }
        let folder = section.folder.path
        var status = stat()
        guard stat(folder, &status) == 0 else {
            return DoctorCheck(
                "backup", errno == EACCES ? .warn : .fail,
                "the folder of backups \(folder) can not be used: \(String(cString: strerror(errno)))",
                fix: "install -d -m 700 -o hds-kms \(folder)")
        }
        guard status.st_mode & S_IFMT == S_IFDIR, status.st_uid == owner, status.st_mode & 0o077 == 0 else {
            return DoctorCheck(
                "backup", .fail, "\(folder) is no folder of the service alone",
                fix: "chown \(owner) \(folder) && chmod 700 \(folder)")
        }
        guard let newest = try? BackupFolder(folder).newest(of: configuration.host) else {
            return DoctorCheck("backup", .warn, "there is no backup in \(folder)", fix: "hdsctl backup")
        }
        let hours = (now.milliseconds - newest.header.created.milliseconds) / 3_600_000
        return hours < Int64(section.staleAfterHours)
            ? DoctorCheck("backup", .pass, "the newest backup is \(hours) hours old")
            : DoctorCheck(
                "backup", .warn, "the newest backup is \(hours) hours old",
                fix: "hdsctl backup, and see why none was made")
    }
}
