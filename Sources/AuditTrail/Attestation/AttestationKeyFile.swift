package import Cryptography
import Diagnostics
import Glibc
import JOSESignature
import SecretMemory

// Where an attestation key lies: a PEM file of mode 0600, or a credential that systemd hands over.
extension AttestationKey {
    private static let maximumCount = 64 << 10

    /// Reads a key file: a regular file, no symbolic link, owned by this user or root, open to nobody else.
    ///
    /// A file directly in `credentialsDirectory` is systemd's to guard.
    /// - Parameter isOfService: root looks at the key of a service, which has a user of its own.
    package static func load(
        fromFile path: String, isOfService: Bool = false,
        credentialsDirectory: String? = getenv("CREDENTIALS_DIRECTORY").map { String(cString: $0) }
    ) throws -> AttestationKey {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { throw file("the attestation key can not be opened", path, errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size <= maximumCount else {
            throw DiagnosedError(
                .attestationKeyFile, fault: .configuration, "\(path) is no key file",
                expected: "a PEM file of an attestation key", hint: "hdsctl attestation-key create makes one")
        }
        if !isCredential(path, in: credentialsDirectory) {
            let isOwn = status.st_uid == geteuid() || status.st_uid == 0 || (isOfService && geteuid() == 0)
            guard isOwn, status.st_mode & 0o7177 == 0 else {
                throw DiagnosedError(
                    .attestationKeyFile, fault: .configuration, "the key file \(path) is open to others",
                    expected: "mode 0600 or 0400, owner \(geteuid()) or root",
                    found: "mode 0" + String(status.st_mode & 0o7777, radix: 8) + ", owner \(status.st_uid)",
                    hint: "chmod 600, and ask who may have read it")
            }
        }
        let content = SecretBytes(capacity: maximumCount) { buffer in
            max(0, read(descriptor, buffer.baseAddress, buffer.count))
        }
        return try AttestationKey(pem: content)
    }

    /// Writes a new key file of mode 0600, on the disk when it returns; never overwrites.
    package func save(toNewFile path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            let code = errno
            let what = code == EEXIST ? "it exists and is never overwritten" : "the key file can not be made"
            throw Self.file(what, path, code)
        }
        defer { close(descriptor) }
        let text = try pem()
        guard text.withUnsafeBytes({ write(descriptor, $0.baseAddress, $0.count) == $0.count }), fsync(descriptor) == 0
        else {
            let code = errno
            unlink(path)
            throw Self.file("the key file can not be written", path, code)
        }
        try FolderSync.synchronize(folderOf: path)
    }

    private static func isCredential(_ path: String, in directory: String?) -> Bool {
        guard let directory, !directory.isEmpty, let slash = path.lastIndex(of: "/"),
            let expected = resolved(directory)
        else { return false }
        return resolved(String(path[..<slash])) == expected
    }

    private static func resolved(_ path: String) -> String? {
        guard let text = realpath(path.isEmpty ? "/" : path, nil) else { return nil }
        defer { free(text) }
        return String(cString: text)
    }

    private static func file(_ what: String, _ path: String, _ code: Int32) -> DiagnosedError {
        .auditFile(
            what, path, errno: code, as: .attestationKeyFile, fault: .configuration,
            fix: "check the path; hdsctl attestation-key create makes a key file")
    }
}

/// The public half of an attestation key from what an auditor has at hand.
package struct AttestationPublicKey: Sendable {
    package let key: PublicKey

    /// A JWK, a PEM block `PUBLIC KEY`, or the private key's file itself.
    package init(fromFile path: String) throws {
        let text = String(decoding: try SmallFile.read(path, limit: 64 << 10), as: UTF8.self)
        if text.contains("PRIVATE KEY-----") {
            key = try AttestationKey.load(fromFile: path, isOfService: true).publicKey
        } else if text.contains("-----BEGIN PUBLIC KEY-----") {
            key = try PublicKey(pem: text)
        } else {
            key = try JWK(jsonText: text).publicKey()
        }
    }

    package var fingerprint: String { Thumbprint.of(key) }
    package var jwk: String { Thumbprint.jwk(key) }
}
