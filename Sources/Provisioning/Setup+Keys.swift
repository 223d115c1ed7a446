import Cryptography
import Diagnostics
import Glibc
import KMSProtocol
import MasterKey
import SecretMemory
import ServiceRuntime
import WireText

// The steps that make or take over keys, certificates and other secrets.
extension Setup {
    // MARK: Master key

    func masterKey() {
        let answers = answers.masterKey
        step(
            "master-key", found: secrets.found(.masterKey),
            would: answers.from.map { "would take over \($0)" } ?? "would make a new one"
        ) {
            if let from = answers.from {
                let key = try KeyEncryptionKey.load(fromFile: from.path)
                let path = try secrets.put(.masterKey, key.text())
                return SetupLine("master-key", .made, "\(path), taken over, fingerprint \(key.fingerprint)")
            }
            let key: KeyEncryptionKey
            if let copy = answers.copy, PlacedFile.exists(copy.path) {
                // Of a run that was cut off after it.
                key = try KeyEncryptionKey.load(fromFile: copy.path)
            } else {
                key = try KeyEncryptionKey.create()
                // The copy first: a key that is in use has one from the beginning.
                if let copy = answers.copy {
                    try key.text().withUnsafeBytes { try PlacedFile.place(copy.path, mode: 0o600, $0) }
                }
            }
            let path = try secrets.put(.masterKey, key.text())
            return SetupLine(
                "master-key", .made,
                "\(path), fingerprint \(key.fingerprint)"
                    + (answers.copy.map {
                        "; a copy lies in \($0): keep it where neither fire nor one person reaches it"
                    }
                        ?? "; without an escrow or a copy everything is lost with this machine"))
        }
    }

    // MARK: Static key and certificate

    func staticKey() {
        let answers = answers.certificate
        step(
            "static-key", found: secrets.found(.staticKey),
            would: answers.container.map { "would take over \($0)" } ?? answers.privateKey.map {
                "would take over \($0)"
            } ?? "would make a new one"
        ) {
            let key: PrivateKey
            if let file = answers.container {
                key = try opened(file).privateKey
            } else if let file = answers.privateKey {
                key = try Credentials(folder: nil).withBytes(of: .file(file)) { try PrivateKey(pem: $0) }
            } else {
                guard !options.joins else {
                    return SetupLine(
                        "static-key", .missing, "a further node needs the static key of the cluster",
                        fix:
                            "bring it from a node that is there, as certificate.pkcs12 or certificate.private-key with "
                            + "certificate.chain, by a way of your own: never through the cloud or the database")
                }
                key = try PrivateKey.generateRSA(bits: answers.keyBits)
            }
            let isMade = answers.container == nil && answers.privateKey == nil
            let path = try secrets.put(.staticKey, key.pem())
            return SetupLine(
                "static-key", .made, isMade ? "\(path), RSA of \(answers.keyBits) bits" : "\(path), taken over")
        }
    }

    /// The one that is there, else the one that was brought, else a request for one.
    func certificate() {
        guard secrets.found(.staticKey) != nil else {
            if options.isDryRun {
                note(SetupLine("certificate", .would, "would take over the chain, or write \(places.request)"))
            }
            return
        }
        let chain = FileLocation(places.chain)
        do {
            let key = try secrets.open(.staticKey).withUnsafeBytes { try PrivateKey(pem: $0) }
            if PlacedFile.exists(places.chain) {
                try judge(try chain.certificates(), key)
                return note(SetupLine("certificate", .there, "\(chain), for \(answers.host)"))
            }
            guard let brought = try brought() else { return try request(key) }
            try judge(brought, key)
            guard !options.isDryRun else {
                return note(SetupLine("certificate", .would, "would make \(chain)"))
            }
            try PlacedFile.place(places.chain, mode: 0o644, text: brought.map(\.pem).joined())
            note(SetupLine("certificate", .made, "\(chain), for \(answers.host)"))
        } catch {
            note(SetupLine("certificate", missing: error))
        }
    }

    /// As every deployed client judges it.
    private func judge(_ chain: [Certificate], _ key: PrivateKey) throws(DiagnosedError) {
        try KMSCertificateRules.check(chain: chain, publicKey: key.publicKey, host: answers.host, now: .now())
    }

    private func brought() throws -> [Certificate]? {
        if let file = options.chain ?? answers.certificate.chain {
            // Named beforehand, while the authority has it still to make.
            guard PlacedFile.exists(file.path) else { return nil }
            return try file.certificates()
        }
        return try answers.certificate.container.map { try opened($0).chain }
    }

    private func request(_ key: PrivateKey) throws {
        let fix =
            "let your certification authority sign \(places.request); then hdsctl setup --chain FILE, the certificate first, "
            + "then every intermediate one"
        if !PlacedFile.exists(places.request), !options.isDryRun {
            try PlacedFile.place(
                places.request, mode: 0o644,
                text: try CertificateRequest.pem(
                    host: answers.host, organisation: answers.certificate.subjectOrganisation, key: key))
        }
        note(SetupLine("certificate", .missing, "the certificate of the static key for \(answers.host)", fix: fix))
    }

    // MARK: Other secrets

    func clientSecret() {
        let account = answers.authorization
        step(
            "client-secret", found: secrets.found(.clientSecret),
            would: account.clientSecret.map { "would take over \($0)" } ?? "would ask for it"
        ) {
            let secret: SecretBytes
            if let file = account.clientSecret {
                secret = try Self.line(of: file)
            } else if let asked = try answer(.clientSecret(clientID: account.clientID)), asked.count > 0 {
                secret = asked
            } else {
                return SetupLine(
                    "client-secret", .missing, "the secret of the account \(account.clientID) at \(account.issuer)",
                    fix: "hds-auth add-service --accounts /etc/hds/accounts.yaml --id \(account.clientID) --grant "
                        + "cloud=link:kms --introspects kms --secret-file FILE makes it; name that file in "
                        + "authorization.client-secret")
            }
            return SetupLine("client-secret", .made, "\(try secrets.put(.clientSecret, secret)), taken over")
        }
    }

    func otherSecrets() {
        let files: [(InstalledSecret, FileLocation?)] = [
            (.databasePassword, answers.store.postgresql?.password), (.proxyPassword, answers.proxy?.password),
        ]
        for case (let secret, let file?) in files {
            step(secret.rawValue, found: secrets.found(secret), would: "would take over \(file)") {
                SetupLine(secret.rawValue, .made, "\(try secrets.put(secret, Self.line(of: file))), taken over")
            }
        }
    }

    /// Those that this installation has to have.
    var wantedSecrets: [InstalledSecret] {
        var wanted: [InstalledSecret] = [.masterKey, .staticKey, .clientSecret]
        if answers.store.postgresql != nil { wanted.append(.databasePassword) }
        if answers.proxy?.password != nil { wanted.append(.proxyPassword) }
        return wanted
    }
}
