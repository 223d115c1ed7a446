internal import COpenSSL
private import Glibc
private import Synchronization

/// The process-wide arena that holds secrets: OpenSSL's secure heap, locked into memory where the kernel allows.
///
/// The arena lies between guard pages, is excluded from core dumps and, if `RLIMIT_MEMLOCK` permits, from swap.
/// Pages are locked when they are first touched, so an unused arena costs no resident memory. OpenSSL keeps the
/// private numbers of its own keys here as well. Any thread may call; the first use decides the size.
package enum SecureHeap {
    private enum State: UInt8 {
        case untouched, locked, unlocked, unavailable
    }

    private static let state = Atomic<UInt8>(State.untouched.rawValue)
    private static let initialization = Mutex<Void>(())

    /// Creates the arena unless it exists already; `bytes` is rounded up to a power of two.
    ///
    /// Called by the first secret if nobody did before. A refused lock or a refused mapping is no error: secrets then
    /// stand in unlocked or ordinary memory, are wiped all the same, and `isLocked` says so.
    package static func initialize(bytes: Int = 4 << 20) {
        guard state.load(ordering: .acquiring) == State.untouched.rawValue else { return }
        initialization.withLock { _ in
            guard state.load(ordering: .acquiring) == State.untouched.rawValue else { return }
            state.store(createArena(bytes: bytes).rawValue, ordering: .releasing)
        }
    }

    /// Whether the pages of the arena can not be swapped out; false before the kernel's consent and after a refusal.
    package static var isLocked: Bool {
        initialize()
        return state.load(ordering: .acquiring) == State.locked.rawValue
    }

    /// How many octets of the arena are in use, rounded up to its blocks, by secrets and by OpenSSL's own keys.
    package static var used: Int { CRYPTO_secure_used() }

    private static func createArena(bytes: Int) -> State {
        let smallestBlock = 32
        var size = 1 << 16
        while size < bytes, size < 1 << 30 { size <<= 1 }
        if CRYPTO_secure_malloc_initialized() == 1 { return .unlocked }
        switch CRYPTO_secure_malloc_init(size, smallestBlock) {
        case 1: return .locked
        case 2: return .unlocked
        default:
            ERR_clear_error()
            return .unavailable
        }
    }
}

/// One block of memory for a secret: from the arena, or pages of its own when the arena is full or the block is large.
///
/// Wiped and given back when the owner ends. The pages are locked and kept out of core dumps as far as the kernel
/// allows, without a promise: `SecureHeap.isLocked` speaks for the arena only.
@safe @usableFromInline
struct SecretBlock: ~Copyable, @unchecked Sendable {  // owns its pointer alone; written only before it is shared
    /// Larger blocks (whole files, messages) get pages of their own, lest one of them fills the arena.
    private static let largestInArena = 64 << 10

    @usableFromInline let base: UnsafeMutableRawPointer
    let capacity: Int
    private let isInArena: Bool

    init(capacity: Int) {
        SecureHeap.initialize()
        self.capacity = capacity
        if capacity <= Self.largestInArena, CRYPTO_secure_malloc_initialized() == 1 {
            if let block = unsafe CRYPTO_secure_malloc(max(capacity, 1), nil, 0) {
                unsafe base = block
                isInArena = true
                return
            }
            ERR_clear_error()
        }
        isInArena = false
        unsafe base = Self.pages(capacity)
    }

    deinit {
        if isInArena {
            unsafe CRYPTO_secure_clear_free(base, max(capacity, 1), nil, 0)
        } else {
            unsafe OPENSSL_cleanse(base, capacity)
            unsafe munmap(base, max(capacity, 1))
        }
    }

    private static func pages(_ count: Int) -> UnsafeMutableRawPointer {
        let size = max(count, 1)
        let mapping = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let mapping = unsafe mapping, unsafe mapping != MAP_FAILED else {
            // As with every allocation of the language: without memory there is no way on.
            fatalError("out of memory: \(size) octets for a secret")
        }
        _ = unsafe mlock(mapping, size)
        _ = unsafe madvise(mapping, size, MADV_DONTDUMP)
        return unsafe mapping
    }
}
