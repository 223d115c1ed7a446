internal import CPKCS11
internal import Diagnostics
internal import SecretMemory

/// A session with a token, logged in, for one use of a key.
@safe
struct TokenSession {
    let list: UnsafeMutablePointer<CK_FUNCTION_LIST>
    let handle: CK_SESSION_HANDLE

    static let tagCount = 16

    /// Makes a key of 256 bits that can not leave the token.
    func generateKey(label: String) throws {
        guard try keys(labelled: label).isEmpty else {
            throw DiagnosedError(
                .tokenKey, fault: .client, "the token has a key \(label.quotedForError) already",
                expected: "a new label", hint: "use the key that is there, or name another one")
        }
        var mechanism = unsafe CK_MECHANISM(
            mechanism: CK_MECHANISM_TYPE(CKM_AES_KEY_GEN), pParameter: nil, ulParameterLen: 0)
        var key = CK_OBJECT_HANDLE()
        let numbers: [(CK_ATTRIBUTE_TYPE, CK_ULONG)] = [
            (CKA_CLASS, CK_ULONG(CKO_SECRET_KEY)), (CKA_KEY_TYPE, CK_ULONG(CKK_AES)), (CKA_VALUE_LEN, 32),
        ]
        let flags: [(CK_ATTRIBUTE_TYPE, Bool)] = [
            (CKA_TOKEN, true), (CKA_PRIVATE, true), (CKA_SENSITIVE, true), (CKA_EXTRACTABLE, false),
            (CKA_ENCRYPT, true), (CKA_DECRYPT, true), (CKA_WRAP, false), (CKA_UNWRAP, false), (CKA_MODIFIABLE, false),
        ]
        try unsafe withTemplate(label: label, numbers: numbers, flags: flags) { template in
            try TokenModule.check("making a key") {
                unsafe list.pointee.C_GenerateKey?(
                    handle, &mechanism, template.baseAddress, CK_ULONG(template.count), &key)
            }
        }
    }

    /// The key of that label, after a look at whether it is one that stays in the token.
    func key(labelled label: String) throws -> CK_OBJECT_HANDLE {
        let found = try keys(labelled: label)
        guard found.count == 1 else {
            throw DiagnosedError(
                .tokenKey, fault: .configuration,
                found.isEmpty ? "the token has no key \(label.quotedForError)" : "several keys have one label",
                expected: "one AES key \(label.quotedForError)", found: "\(found.count)",
                hint: found.isEmpty ? "hdsctl master-key create-in-token makes one" : "delete or rename the others")
        }
        let count: CK_ULONG = try attribute(CKA_VALUE_LEN, of: found[0], initial: 0)
        let kind: CK_ULONG = try attribute(CKA_KEY_TYPE, of: found[0], initial: 0)
        guard count == 32, kind == CK_ULONG(CKK_AES) else {
            throw DiagnosedError(
                .tokenKey, fault: .configuration, "the key \(label.quotedForError) is of another kind",
                expected: "AES of 256 bits", found: "key type \(kind), \(count) octets")
        }
        let extractable: CK_BBOOL = try attribute(CKA_EXTRACTABLE, of: found[0], initial: 1)
        let sensitive: CK_BBOOL = try attribute(CKA_SENSITIVE, of: found[0], initial: 0)
        guard extractable == CK_BBOOL(CK_FALSE), sensitive == CK_BBOOL(CK_TRUE) else {
            throw DiagnosedError(
                .tokenKey, fault: .configuration, "the key \(label.quotedForError) can leave the token",
                expected: "CKA_SENSITIVE and not CKA_EXTRACTABLE",
                found: extractable == CK_BBOOL(CK_FALSE) ? "not sensitive" : "extractable",
                hint: "make a new one with hdsctl master-key create-in-token and change to it")
        }
        return found[0]
    }

    /// AES-256-GCM inside the token: ciphertext and tag behind each other.
    func encrypt(
        _ plain: UnsafeRawBufferPointer, key: CK_OBJECT_HANDLE, nonce: [UInt8], aad: [UInt8]
    ) throws -> [UInt8] {
        var output = [UInt8](repeating: 0, count: plain.count + Self.tagCount)
        var count = CK_ULONG(output.count)
        try unsafe withGCM(nonce: nonce, aad: aad) { mechanism in
            try TokenModule.check("encrypting") {
                unsafe list.pointee.C_EncryptInit?(handle, mechanism, key)
            }
            try TokenModule.check("encrypting") {
                // A pointer is asked for even where there is nothing to encrypt.
                var nothing: UInt8 = 0
                guard let start = unsafe plain.bindMemory(to: UInt8.self).baseAddress else {
                    return unsafe list.pointee.C_Encrypt?(handle, &nothing, 0, &output, &count)
                }
                return unsafe list.pointee.C_Encrypt?(
                    handle, UnsafeMutablePointer(mutating: start), CK_ULONG(plain.count), &output, &count)
            }
        }
        guard Int(count) == output.count else {
            throw DiagnosedError(
                .tokenFailed, fault: .store, "the token encrypted to another size", expected: "\(output.count) octets",
                found: "\(count)", hint: "the token has to offer CKM_AES_GCM with tags of 128 bits")
        }
        return output
    }

    /// Throws when the tag is wrong.
    func decrypt(_ sealed: [UInt8], key: CK_OBJECT_HANDLE, nonce: [UInt8], aad: [UInt8]) throws -> SymmetricKey {
        var sealed = sealed
        let plain = try unsafe SecretBytes(capacity: sealed.count) { target in
            var count = CK_ULONG(target.count)
            let output = unsafe target.bindMemory(to: UInt8.self).baseAddress
            try unsafe withGCM(nonce: nonce, aad: aad) { mechanism in
                try TokenModule.check("decrypting") {
                    unsafe list.pointee.C_DecryptInit?(handle, mechanism, key)
                }
                try TokenModule.check("decrypting") {
                    unsafe list.pointee.C_Decrypt?(handle, &sealed, CK_ULONG(sealed.count), output, &count)
                }
            }
            return Int(count)
        }
        return SymmetricKey(plain)
    }

    // MARK: Pointers

    private func withGCM<R>(
        nonce: [UInt8], aad: [UInt8], _ body: (UnsafeMutablePointer<CK_MECHANISM>) throws -> R
    ) throws -> R {
        var nonce = nonce, aad = aad
        let nonceCount = CK_ULONG(nonce.count), aadCount = CK_ULONG(aad.count)
        return try unsafe nonce.withUnsafeMutableBufferPointer { nonce in
            try unsafe aad.withUnsafeMutableBufferPointer { aad in
                var parameters = unsafe CK_GCM_PARAMS(
                    pIv: nonce.baseAddress, ulIvLen: nonceCount, ulIvBits: nonceCount * 8, pAAD: aad.baseAddress,
                    ulAADLen: aadCount, ulTagBits: CK_ULONG(Self.tagCount * 8))
                return try unsafe withUnsafeMutablePointer(to: &parameters) { parameters in
                    var mechanism = unsafe CK_MECHANISM(
                        mechanism: CK_MECHANISM_TYPE(CKM_AES_GCM), pParameter: parameters,
                        ulParameterLen: CK_ULONG(MemoryLayout<CK_GCM_PARAMS>.size))
                    return try unsafe body(&mechanism)
                }
            }
        }
    }

    private func keys(labelled label: String) throws -> [CK_OBJECT_HANDLE] {
        try unsafe withTemplate(
            label: label, numbers: [(CKA_CLASS, CK_ULONG(CKO_SECRET_KEY))], flags: []
        ) { template in
            try TokenModule.check("looking for the key") {
                unsafe list.pointee.C_FindObjectsInit?(handle, template.baseAddress, CK_ULONG(template.count))
            }
        }
        defer { _ = unsafe list.pointee.C_FindObjectsFinal?(handle) }
        var found = [CK_OBJECT_HANDLE](repeating: 0, count: 4)
        var count = CK_ULONG()
        try TokenModule.check("looking for the key") {
            unsafe list.pointee.C_FindObjects?(handle, &found, CK_ULONG(found.count), &count)
        }
        return Array(found.prefix(Int(count)))
    }

    private func attribute<Value>(_ type: CK_ATTRIBUTE_TYPE, of key: CK_OBJECT_HANDLE, initial: Value) throws -> Value {
        var value = initial
        try TokenModule.check("reading what kind of key it is") {
            unsafe withUnsafeMutablePointer(to: &value) { pointer in
                var attribute = unsafe CK_ATTRIBUTE(
                    type: type, pValue: pointer, ulValueLen: CK_ULONG(MemoryLayout<Value>.size))
                return unsafe list.pointee.C_GetAttributeValue?(handle, key, &attribute, 1)
            }
        }
        return value
    }

    private func withTemplate<R>(
        label: String, numbers: [(CK_ATTRIBUTE_TYPE, CK_ULONG)], flags: [(CK_ATTRIBUTE_TYPE, Bool)],
        _ body: (UnsafeMutableBufferPointer<CK_ATTRIBUTE>) throws -> R
    ) throws -> R {
        var text = Array(label.utf8)
        var values = numbers.map(\.1)
        var switches = flags.map { CK_BBOOL($0.1 ? CK_TRUE : CK_FALSE) }
        return try unsafe text.withUnsafeMutableBytes { text in
            try unsafe values.withUnsafeMutableBufferPointer { values in
                try unsafe switches.withUnsafeMutableBufferPointer { switches in
                    var template = unsafe [
                        CK_ATTRIBUTE(
                            type: CKA_LABEL, pValue: text.baseAddress,
                            ulValueLen: CK_ULONG(text.count))
                    ]
                    for (index, number) in numbers.enumerated() {
                        unsafe template.append(
                            CK_ATTRIBUTE(
                                type: number.0, pValue: values.baseAddress?.advanced(by: index),
                                ulValueLen: CK_ULONG(MemoryLayout<CK_ULONG>.size)))
                    }
                    for (index, flag) in flags.enumerated() {
                        unsafe template.append(
                            CK_ATTRIBUTE(
                                type: flag.0, pValue: switches.baseAddress?.advanced(by: index),
                                ulValueLen: CK_ULONG(MemoryLayout<CK_BBOOL>.size)))
                    }
                    return try unsafe template.withUnsafeMutableBufferPointer { try unsafe body($0) }
                }
            }
        }
    }
}
