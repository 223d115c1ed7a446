import ChildProcess
import Diagnostics
import Glibc
import SecretMemory
import ServiceRuntime

/// Where the secrets of an installation are put: files of mode 0600 among the credentials, or encrypted to this machine
/// (`systemd-creds encrypt`), so that a disk without the machine tells nothing.
struct SecretPlace {
    private static let tool = "/usr/bin/systemd-creds"

    let places: SetupPlaces
    let isEncrypted: Bool

    /// - Parameter keeping: nil: encrypted where it can be.
    init(_ places: SetupPlaces, _ keeping: MasterKeyAnswers.Keeping?) throws(DiagnosedError) {
        self.places = places
        let isPossible = places.hasSystemd && access(Self.tool, X_OK) == 0
        guard keeping != .encrypted || isPossible else {
            throw DiagnosedError(
                "setup-encrypted", fault: .configuration, "secrets can not be encrypted to this machine",
                expected: "systemd 252 with \(Self.tool)", hint: "set master-key.kept to file")
        }
        isEncrypted = keeping.map { $0 == .encrypted } ?? isPossible
    }

    private func plain(_ secret: InstalledSecret) -> String { "\(places.credentials)/\(secret.file)" }
    private func sealed(_ secret: InstalledSecret) -> String { "\(places.credentials)/\(secret.rawValue).cred" }

    /// Where it lies already, in whichever form.
    func found(_ secret: InstalledSecret) -> String? {
        [plain(secret), sealed(secret)].first { PlacedFile.exists($0) }
    }

    /// Puts it there; returns where.
    func put(_ secret: InstalledSecret, _ bytes: borrowing SecretBytes) throws -> String {
        guard isEncrypted else {
            let path = plain(secret)
            // Of root on a machine, where systemd hands them over; below a folder of whoever starts the service.
            try bytes.withUnsafeBytes { try PlacedFile.place(path, mode: 0o600, $0) }
            return path
        }
        let path = sealed(secret)
        let ending = bytes.withUnsafeBytes { bytes in
            OtherProgram.run(
                Self.tool, ["encrypt", "--name=\(secret.rawValue)", "-", "-"], input: bytes, output: .standard)
        }
        guard let ending, ending.code == 0, !ending.output.isEmpty else {
            throw DiagnosedError(
                "setup-encrypted", fault: .configuration, "\(secret.rawValue) can not be encrypted to this machine",
                expected: "\(Self.tool) encrypt", found: ending.map { "exit code \($0.code)" } ?? "no such program",
                hint: "systemd-creds setup makes the machine's key; or set master-key.kept to file")
        }
        try ending.output.withUnsafeBytes { try PlacedFile.place(path, mode: 0o600, $0) }
        return path
    }

    /// A secret that is there, for what has to know it now.
    func open(_ secret: InstalledSecret) throws -> SecretBytes {
        if PlacedFile.exists(plain(secret)) {
            return try Credentials(folder: nil).withBytes(of: .file(FileLocation(plain(secret)))) {
                SecretBytes(copying: $0)
            }
        }
        return try Credentials.decrypting(secret.rawValue, sealed(secret)) { SecretBytes(copying: $0) }
    }

    /// What the unit has to be told besides what it has from the package; nil for nothing.
    ///
    /// - Parameter folders: what the service writes to outside of its state folder.
    func dropIn(_ wanted: [InstalledSecret], folders: [String]) -> String? {
        var lines: [String] = []
        let usual: Set<InstalledSecret> = [.masterKey, .staticKey, .clientSecret]
        let isUsual = Set(wanted).isSubset(of: usual) && wanted.allSatisfy { PlacedFile.exists(plain($0)) }
        if !isUsual {
            lines.append("LoadCredential=")
            for secret in wanted {
                lines.append(
                    PlacedFile.exists(plain(secret))
                        ? "LoadCredential=\(secret.rawValue):\(plain(secret))"
                        : "LoadCredentialEncrypted=\(secret.rawValue):\(sealed(secret))")
            }
        }
        lines += folders.map { "ReadWritePaths=\($0)" }
        return lines.isEmpty
            ? nil
            : "# Made by hdsctl setup; made anew when its answers change.\n[Service]\n" + lines.joined(separator: "\n")
                + "\n"
    }
}
