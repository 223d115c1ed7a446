import ChildProcess
import Cryptography
import DatabaseConfiguration
import Diagnostics
import Glibc
import LinkedService
import MasterKey
import ServiceRuntime

/// Whether each secret that the configuration names is there for the service: in a file of its user that nobody else may
/// read, or as a credential that its unit hands over.
struct DoctorSecrets {
    private let configuration: KMSServiceConfiguration
    private let unit: ServiceUnit
    private let credentials: Credentials
    /// Who runs the service.
    private let owner: uid_t

    init(_ configuration: KMSServiceConfiguration, _ unit: ServiceUnit, _ credentials: Credentials) {
        (self.configuration, self.unit, self.credentials) = (configuration, unit, credentials)
        owner = unit.userID ?? geteuid()
    }

    /// One of the secrets, by its key in the configuration.
    private struct Secret {
        enum Form { case privateKey, masterKey, line }

        let id: String
        let location: SecretLocation
        let form: Form

        init(_ key: String, _ location: SecretLocation, _ form: Form) {
            (id, self.location, self.form) = ("credential \(key)", location, form)
        }
    }

    func checks() -> [DoctorCheck] { secrets.map { check($0) } }

    private var secrets: [Secret] {
        var places = [Secret("static-key", configuration.staticKey.privateKey, .privateKey)]
        for (index, previous) in configuration.staticKey.previous.enumerated() {
            places.append(Secret("static-key.previous[\(index)]", previous.privateKey, .privateKey))
        }
        switch configuration.masterKey {
        case .secret(let location): places.append(Secret("master-key", location, .masterKey))
        case .token(let token): places.append(Secret("master-key-token", token.pin, .line))
        }
        places.append(Secret("client-secret", configuration.authorization.service.clientSecret, .line))
        for issuer in configuration.authorization.issuers {
            if case .introspection(_, _, let secret, _) = issuer.source {
                places.append(Secret("issuer-client-secret", secret, .line))
            }
        }
        if case .postgresql(let section) = configuration.store.backend, let password = section.password {
            places.append(Secret("database-password", password, .line))
        }
        if let password = configuration.proxy?.password { places.append(Secret("proxy-password", password, .line)) }
        if let key = configuration.audit.attestationKey { places.append(Secret("attestation-key", key, .privateKey)) }
        return places
    }

    private func check(_ secret: Secret) -> DoctorCheck {
        let id = secret.id
        switch secret.location {
        case .file(let file): return judge(secret, file.path, owner: owner)
        case .credential(let name):
            if let source = unit.sources[name] {
                return source.isEncrypted
                    ? encrypted(id, name, source.path) : judge(secret, source.path, owner: 0)
            }
            if credentials.isHandedOver(secret.location) {
                return DoctorCheck(id, .pass, "handed over to this process as credential:\(name)")
            }
            return unit.isInstalled
                ? DoctorCheck(
                    id, .fail, "\(unit.unit) hands over no credential \(name)",
                    fix: "systemctl edit \(unit.unit): [Service] LoadCredential=\(name):/etc/hds/credentials/\(name)")
                : DoctorCheck(
                    id, .warn, "credential:\(name) is handed over by systemd, and there is no \(unit.unit) here",
                    fix: "install the package hds-appliance, or name a file of mode 0600")
        }
    }

    /// A file with a secret, as the service or systemd will read it.
    private func judge(_ secret: Secret, _ path: String, owner: uid_t) -> DoctorCheck {
        let id = secret.id
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == EACCES, geteuid() != 0 {
                return DoctorCheck(
                    id, .pass, "lies where only root sees it, at \(path); hdsctl doctor as root looks at it")
            }
            return DoctorCheck(
                id, .fail, "\(path) can not be found: \(String(cString: strerror(errno)))",
                fix: "hdsctl setup makes it; if it was there before, put back your copy")
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            return DoctorCheck(id, .fail, "\(path) is no regular file", fix: "put the secret itself there")
        }
        guard status.st_mode & 0o7177 == 0 else {
            return DoctorCheck(
                id, .fail, "\(path) has mode 0\(String(status.st_mode & 0o7777, radix: 8)), expected 0600 or 0400",
                fix: "chmod 600 \(path), and replace the secret if others may have read it")
        }
        guard status.st_uid == owner else {
            return DoctorCheck(
                id, .fail, "\(path) belongs to user \(status.st_uid), expected \(owner)", fix: "chown \(owner) \(path)")
        }
        guard status.st_size > 0 else {
            return DoctorCheck(id, .fail, "\(path) is empty", fix: "put back your copy of the secret")
        }
        guard access(path, R_OK) == 0, owner == geteuid() || owner == 0 else {
            return DoctorCheck(id, .pass, "\(path): mode and owner are right; only its owner opens it")
        }
        return opened(secret, path)
    }

    /// What is in it, where its form is known.
    private func opened(_ secret: Secret, _ path: String) -> DoctorCheck {
        do {
            switch secret.form {
            case .masterKey:
                let key = try configuration.masterKey.open(credentials)
                return DoctorCheck(secret.id, .pass, "\(path), fingerprint \(key.fingerprint)")
            case .privateKey: _ = try credentials.withBytes(of: secret.location) { try PrivateKey(pem: $0) }
            case .line: _ = try credentials.text(of: secret.location)
            }
            return DoctorCheck(secret.id, .pass, "\(path) is whole, and for its owner alone")
        } catch {
            return DoctorCheck(secret.id, error)
        }
    }

    private func encrypted(_ id: String, _ name: String, _ path: String) -> DoctorCheck {
        guard access(path, F_OK) == 0 else {
            if errno == EACCES, geteuid() != 0 {
                return DoctorCheck(
                    id, .pass, "lies where only root sees it, at \(path); hdsctl doctor as root looks at it")
            }
            return DoctorCheck(
                id, .fail, "\(path) can not be found", fix: "hdsctl setup makes it; if it was there before, put it back"
            )
        }
        guard access(path, R_OK) == 0, geteuid() == 0 else {
            return DoctorCheck(id, .pass, "\(path) is there, encrypted; hdsctl doctor as root tries to open it")
        }
        // The secret itself goes nowhere: only whether it opens is of interest.
        let ending = OtherProgram.run(
            "/usr/bin/systemd-creds", ["decrypt", "--name=\(name)", path, "-"], output: .errors)
        switch ending?.code {
        case 0: return DoctorCheck(id, .pass, "\(path) opens on this machine")
        case nil:
            return DoctorCheck(
                id, .warn, "\(path) was not tried: there is no systemd-creds", fix: "install systemd 252 or newer")
        default:
            return DoctorCheck(
                id, .fail, "\(path) does not open on this machine: \(ending?.lastLine ?? "")",
                fix: "it was encrypted for another machine or under another name: encrypt your copy of the secret anew "
                    + "(systemd-creds encrypt --name=\(name))")
        }
    }
}
