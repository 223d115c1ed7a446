import ChildProcess
package import Diagnostics
import Glibc

/// Reads secrets from where `SecretLocation` points: systemd's credentials folder or a file of strict mode.
///
/// A file has to belong to the service's user or root and must be closed to everybody else (0600 or 0400). In
/// $CREDENTIALS_DIRECTORY systemd has seen to that. Bytes are read into memory that is wiped when the closure
/// returns: put them into a secret type inside of it. Errors tell the place, never the contents.
package struct Credentials: Sendable {
    package static let maximumBytes = 1 << 16

    /// The folder that systemd made for this run of the service, or nil outside of systemd.
    let folder: String?
    /// For a tool that systemd hands nothing over: the unit whose secrets they are.
    private let unit: ServiceUnit?
    /// Whose files are taken beside those of root.
    private let users: Set<uid_t>

    package init(folder: String?, unit: ServiceUnit? = nil) {
        self.folder = folder
        self.unit = unit
        users = Set([geteuid(), 0, unit?.userID].compactMap { $0 })
    }

    /// Those of this process.
    package static var ofProcess: Credentials {
        Credentials(folder: getenv("CREDENTIALS_DIRECTORY").map { String(cString: $0) })
    }

    /// Those of a service's unit, for an administrator who may read the files that it hands over.
    package static func ofAdministrator(_ unit: ServiceUnit) -> Credentials {
        Credentials(folder: ofProcess.folder, unit: unit)
    }

    /// Whether systemd has handed it over to this process.
    package func isHandedOver(_ location: SecretLocation) -> Bool {
        guard case .credential(let name) = location, let folder else { return false }
        return access("\(folder)/\(name)", R_OK) == 0
    }

    /// Where systemd has put it, or would have, with the folder; nil for files, and for a tool that is no unit.
    package func handedOver(_ location: SecretLocation) -> (path: String, folder: String)? {
        guard case .credential(let name) = location, let folder, unit?.sources[name] == nil || isHandedOver(location)
        else { return nil }
        return ("\(folder)/\(name)", folder)
    }

    /// Calls `body` with the bytes of the secret.
    package func withBytes<Result: ~Copyable>(
        of location: SecretLocation, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        if let (name, path) = encrypted(location) { return try Self.decrypting(name, path, body) }
        let (path, isHandedOver) = try place(of: location)
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw DiagnosedError(
                .credentialMissing, fault: .configuration, "the secret \(location) can not be read",
                expected: "a file that the service's user can read", found: String(cString: strerror(errno)),
                hint: isHandedOver
                    ? "give the unit a LoadCredential= or LoadCredentialEncrypted= line of this name"
                    : "create it, or correct its path in the configuration")
        }
        defer { close(descriptor) }
        let size = try checkedSize(descriptor, location, isHandedOver: isHandedOver)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size + 1, alignment: 16)
        defer {
            if let start = buffer.baseAddress { explicit_bzero(start, buffer.count) }
            buffer.deallocate()
        }
        var count = 0
        while count < buffer.count {
            let step = read(descriptor, buffer.baseAddress.map { $0 + count }, buffer.count - count)
            if step < 0, errno == EINTR { continue }
            guard step > 0 else { break }
            count += step
        }
        guard count == size else {
            throw DiagnosedError(
                .credentialUnreadable, fault: .configuration, "the secret \(location) changed while it was read",
                expected: "\(size) bytes", found: "another size", hint: "start the service again")
        }
        return try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }

    /// A secret that is a line of text, such as a password for another service, without the line's end.
    package func text(of location: SecretLocation) throws -> Redacted<String> {
        try withBytes(of: location) { bytes in
            var line = bytes[...]
            while let last = line.last, last == UInt8(ascii: "\n") || last == UInt8(ascii: "\r") {
                line = line.dropLast()
            }
            guard !line.isEmpty, let text = String(validating: line, as: UTF8.self) else {
                throw DiagnosedError(
                    .credentialUnreadable, fault: .configuration, "the secret \(location) is no line of text",
                    expected: "one line of UTF-8", hint: "write the secret into the file again")
            }
            return Redacted(text)
        }
    }

    /// Name and file of a secret that only systemd's tool opens.
    private func encrypted(_ location: SecretLocation) -> (name: String, path: String)? {
        guard case .credential(let name) = location, !isHandedOver(location), let source = unit?.sources[name],
            source.isEncrypted
        else { return nil }
        return (name, source.path)
    }

    /// Calls `body` with what `systemd-creds encrypt` has sealed to this machine; for root.
    package static func decrypting<Result: ~Copyable>(
        _ name: String, _ path: String, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        let ending = OtherProgram.run(
            "/usr/bin/systemd-creds", ["decrypt", "--name=\(name)", path, "-"], output: .standard)
        guard let ending, ending.code == 0, !ending.output.isEmpty else {
            throw DiagnosedError(
                .credentialMissing, fault: .configuration,
                "the secret credential:\(name) is encrypted and does not open",
                expected: "root, on the machine that \(path) was encrypted on",
                found: ending.map { "systemd-creds ended with \($0.code)" } ?? "no systemd-creds",
                hint: "run as root; or encrypt your copy of the secret anew: systemd-creds encrypt --name=\(name)")
        }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: ending.output.count, alignment: 16)
        defer {
            if let start = buffer.baseAddress { explicit_bzero(start, buffer.count) }
            buffer.deallocate()
        }
        var octets = ending.output
        buffer.copyBytes(from: octets)
        octets.withUnsafeMutableBytes { if let start = $0.baseAddress { explicit_bzero(start, $0.count) } }
        return try body(UnsafeRawBufferPointer(buffer))
    }

    /// The file in which it is; whether systemd has made it for this process, and so answers for its mode.
    private func place(of location: SecretLocation) throws -> (path: String, isHandedOver: Bool) {
        switch location {
        case .file(let file): return (file.path, false)
        case .credential(let name):
            if let handed = handedOver(location) { return (handed.path, true) }
            guard let source = unit?.sources[name] else {
                throw DiagnosedError(
                    .credentialMissing, fault: .configuration, "the secret \(location) is asked from systemd",
                    expected: "$CREDENTIALS_DIRECTORY", found: "no such folder",
                    hint: "start the service as a systemd unit with LoadCredential=\(name):..., or name a file")
            }
            return (source.path, false)
        }
    }

    private func checkedSize(_ descriptor: Int32, _ location: SecretLocation, isHandedOver: Bool) throws -> Int {
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw DiagnosedError(
                .credentialUnreadable, fault: .configuration, "the secret \(location) is no regular file",
                expected: "a file", found: "a folder, a pipe or a device")
        }
        if !isHandedOver {
            let owner = unit?.userID ?? geteuid()
            guard users.contains(status.st_uid) else {
                throw DiagnosedError(
                    .credentialForeign, fault: .configuration, "the secret \(location) belongs to somebody else",
                    expected: "owner \(owner) or root", found: "owner \(status.st_uid)",
                    hint: "chown \(owner) \(location)")
            }
            guard status.st_mode & 0o077 == 0 else {
                throw DiagnosedError(
                    .credentialTooOpen, fault: .configuration, "the secret \(location) is open to other users",
                    expected: "mode 0600", found: "mode 0" + String(status.st_mode & 0o777, radix: 8),
                    hint: "chmod 600 \(location), and replace the secret if others may have read it")
            }
        }
        guard status.st_size > 0, status.st_size <= Self.maximumBytes else {
            throw DiagnosedError(
                .credentialUnreadable, fault: .configuration, "the secret \(location) has no usable size",
                expected: "1 to \(Self.maximumBytes) bytes", found: "\(status.st_size) bytes",
                hint: "write the secret into the file again")
        }
        return status.st_size
    }
}

extension DiagnosedError.Code {
    package static let credentialMissing: Self = "credential-missing"
    package static let credentialUnreadable: Self = "credential-unreadable"
    package static let credentialForeign: Self = "credential-foreign"
    package static let credentialTooOpen: Self = "credential-too-open"
}
