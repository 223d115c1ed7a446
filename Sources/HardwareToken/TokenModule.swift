internal import CPKCS11
internal import Diagnostics
internal import SecretMemory
private import Synchronization

/// The library of a hardware token: loaded and started once, used by one caller at a time.
///
/// The one place that touches the pointers of PKCS#11. Each use opens a session of its own and logs in, so that a token
/// that was reset or reconnected meanwhile serves the next use.
final class TokenModule: Sendable {
    /// A table of functions that the library never changes.
    @safe
    private struct Functions: @unchecked Sendable {  // a table that the library never changes
        /// Points into the library, which is never unloaded.
        let list: UnsafeMutablePointer<CK_FUNCTION_LIST>
    }

    private static let loaded = Mutex<[String: TokenModule]>([:])

    private let functions: Functions
    private let path: String
    private let serial = Mutex<Void>(())

    private init(_ functions: Functions, path: String) {
        self.functions = functions
        self.path = path
    }

    /// The module of a path; loaded at the first call.
    static func load(_ path: String) throws(DiagnosedError) -> TokenModule {
        try loaded.withLock { (modules) throws(DiagnosedError) in
            if let module = modules[path] { return module }
            let module = try start(path)
            modules[path] = module
            return module
        }
    }

    private static func start(_ path: String) throws(DiagnosedError) -> TokenModule {
        guard path.hasPrefix("/"), let library = unsafe dlopen(path, RTLD_NOW | RTLD_LOCAL),
            let symbol = unsafe dlsym(library, "C_GetFunctionList")
        else {
            let reason = unsafe dlerror().map { unsafe String(cString: $0) }
            throw DiagnosedError(
                .tokenModule, fault: .configuration, "the PKCS#11 module \(path) can not be loaded",
                expected: "the absolute path of the library that came with the token", found: reason,
                hint: "install the token's software; SoftHSM has /usr/lib/softhsm/libsofthsm2.so")
        }
        let entry = unsafe unsafeBitCast(symbol, to: CK_C_GetFunctionList.self)
        var list: UnsafeMutablePointer<CK_FUNCTION_LIST>?
        let found = unsafe entry(&list)
        guard found == CK_RV(CKR_OK), let list = unsafe list else {
            throw TokenFailure.error(found, "listing the functions of \(path)")
        }
        try unsafe initialize(list, path)
        return unsafe TokenModule(Functions(list: list), path: path)
    }

    private static func initialize(
        _ list: UnsafeMutablePointer<CK_FUNCTION_LIST>, _ path: String
    ) throws(DiagnosedError) {
        var arguments = unsafe CK_C_INITIALIZE_ARGS()
        unsafe arguments.flags = CK_FLAGS(CKF_OS_LOCKING_OK)
        let started = unsafe list.pointee.C_Initialize?(&arguments) ?? CK_RV(CKR_GENERAL_ERROR)
        guard started == CK_RV(CKR_OK) || started == CK_RV(CKR_CRYPTOKI_ALREADY_INITIALIZED) else {
            throw DiagnosedError(
                .tokenModule, fault: .configuration, "the PKCS#11 module \(path) does not start",
                found: "return value 0x" + String(started, radix: 16),
                hint: "see whether its own configuration can be read by this user")
        }
    }

    /// Opens a session with the token of that label, logged in, for the time of `body`.
    func session<R>(
        token: String, pin: SymmetricKey, writing: Bool = false, _ body: (TokenSession) throws -> R
    ) throws -> R {
        try serial.withLock { _ in
            let list = unsafe functions.list
            let slot = try slotAfterLookingAgain(for: token)
            var handle = CK_SESSION_HANDLE()
            let flags = CK_FLAGS(CKF_SERIAL_SESSION) | (writing ? CK_FLAGS(CKF_RW_SESSION) : 0)
            try Self.check("opening a session") {
                unsafe list.pointee.C_OpenSession?(slot, flags, nil, nil, &handle)
            }
            defer { _ = unsafe list.pointee.C_CloseSession?(handle) }
            let entered = unsafe pin.withUnsafeBytes { pin in
                // PKCS#11 takes the PIN as mutable and does not change it.
                let octets = unsafe UnsafeMutablePointer(mutating: pin.bindMemory(to: UInt8.self).baseAddress)
                return unsafe list.pointee.C_Login?(handle, CK_USER_TYPE(CKU_USER), octets, CK_ULONG(pin.count))
                    ?? CK_RV(CKR_GENERAL_ERROR)
            }
            guard entered == CK_RV(CKR_OK) || entered == CK_RV(CKR_USER_ALREADY_LOGGED_IN) else {
                throw TokenFailure.error(entered, "logging in to \(token.quotedForError)")
            }
            // Whoever is logged in is so for the whole program: the next use proves its PIN again.
            defer { _ = unsafe list.pointee.C_Logout?(handle) }
            return try body(unsafe TokenSession(list: list, handle: handle))
        }
    }

    /// Modules that list their tokens only when they start (SoftHSM) are started again for one that is not there.
    private func slotAfterLookingAgain(for label: String) throws -> CK_SLOT_ID {
        do {
            return try slot(of: label)
        } catch let error as DiagnosedError where error.code == .tokenMissing {
            _ = unsafe functions.list.pointee.C_Finalize?(nil)
            try unsafe Self.initialize(functions.list, path)
            return try slot(of: label)
        }
    }

    private func slot(of label: String) throws -> CK_SLOT_ID {
        let list = unsafe functions.list
        var count = CK_ULONG()
        try Self.check("counting its slots") { unsafe list.pointee.C_GetSlotList?(CK_BBOOL(CK_TRUE), nil, &count) }
        var slots = [CK_SLOT_ID](repeating: 0, count: Int(count))
        try Self.check("listing its slots") {
            unsafe list.pointee.C_GetSlotList?(CK_BBOOL(CK_TRUE), &slots, &count)
        }
        var labels: [String] = []
        var found: [CK_SLOT_ID] = []
        for slot in slots.prefix(Int(count)) {
            var info = CK_TOKEN_INFO()
            guard unsafe list.pointee.C_GetTokenInfo?(slot, &info) == CK_RV(CKR_OK) else { continue }
            // 32 octets, padded with spaces.
            let text = unsafe withUnsafeBytes(of: info.label) { unsafe String(decoding: $0, as: UTF8.self) }
            let name = String(text.reversed().drop { $0 == " " || $0 == "\0" }.reversed())
            labels.append(name)
            if name == label { found.append(slot) }
        }
        guard found.count == 1 else {
            throw DiagnosedError(
                .tokenMissing, fault: .configuration,
                found.isEmpty ? "no token has the label \(label.quotedForError)" : "several tokens have one label",
                expected: "one token \(label.quotedForError)",
                found: labels.isEmpty ? "no token" : labels.map(\.quotedForError).joined(separator: ", "),
                hint: "connect the token, or correct its label in the configuration")
        }
        return found[0]
    }

    static func check(_ doing: String, _ call: () -> CK_RV?) throws(DiagnosedError) {
        let code = call() ?? CK_RV(CKR_FUNCTION_NOT_SUPPORTED)
        guard code == CK_RV(CKR_OK) else { throw TokenFailure.error(code, doing) }
    }
}
