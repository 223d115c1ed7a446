import COpenSSL
import NIOCore

/// The octets between a channel and OpenSSL: what arrived and was not read yet, what was written and not sent yet.
///
/// Owned by one `TLSConnection`, used on its event loop only.
final class BufferBIO {
    var inbound = ByteBuffer()
    var outbound = ByteBuffer()
    /// The peer has ended the connection: an empty `inbound` is the end and not a pause.
    var isInboundEnded = false

    /// A BIO over this object, which must outlive it; the caller frees it or gives it to an SSL.
    func makeBIO() -> OpaquePointer? {
        guard let method = unsafe bufferMethod.pointer, let bio = unsafe BIO_new(method) else { return nil }
        unsafe BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        unsafe BIO_set_init(bio, 1)
        return unsafe bio
    }

    fileprivate func write(_ bytes: UnsafePointer<CChar>, count: Int) -> Int {
        unsafe outbound.writeBytes(UnsafeRawBufferPointer(start: bytes, count: count))
    }

    fileprivate func read(into bytes: UnsafeMutablePointer<CChar>, count: Int) -> Int {
        let taken = min(count, inbound.readableBytes)
        guard taken > 0 else { return 0 }
        unsafe inbound.readWithUnsafeReadableBytes { readable in
            unsafe UnsafeMutableRawBufferPointer(start: bytes, count: taken)
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: readable[..<taken]))
            return taken
        }
        return taken
    }
}

/// The callbacks that OpenSSL needs; made once and never freed.
///
/// Sendable: the method table is filled here and only read afterwards.
@safe private final class BufferMethod: @unchecked Sendable {  // filled by init, then only read
    let pointer: OpaquePointer?

    init() {
        let type = BIO_get_new_index() | BIO_TYPE_SOURCE_SINK
        guard let method = unsafe BIO_meth_new(type, "NIO byte buffers") else {
            unsafe pointer = nil
            return
        }
        unsafe BIO_meth_set_write(method) { bio, bytes, count in
            guard let owner = unsafe owner(of: bio), let bytes = unsafe bytes, count > 0 else { return 0 }
            return Int32(unsafe owner.write(bytes, count: Int(count)))
        }
        unsafe BIO_meth_set_read(method) { bio, bytes, count in
            unsafe BIO_clear_flags(
                bio, BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_IO_SPECIAL | BIO_FLAGS_SHOULD_RETRY)
            guard let owner = unsafe owner(of: bio), let bytes = unsafe bytes, count > 0 else { return 0 }
            let taken = unsafe owner.read(into: bytes, count: Int(count))
            if taken > 0 { return Int32(taken) }
            if owner.isInboundEnded { return 0 }
            unsafe BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
            return -1
        }
        unsafe BIO_meth_set_ctrl(method) { bio, command, _, _ in
            switch command {
            case BIO_CTRL_FLUSH: 1
            case BIO_CTRL_EOF:
                unsafe owner(of: bio).map { $0.isInboundEnded && $0.inbound.readableBytes == 0 } == true ? 1 : 0
            default: 0
            }
        }
        unsafe pointer = method
    }
}

private let bufferMethod = BufferMethod()

private func owner(of bio: OpaquePointer?) -> BufferBIO? {
    guard let data = unsafe BIO_get_data(bio) else { return nil }
    return unsafe Unmanaged<BufferBIO>.fromOpaque(data).takeUnretainedValue()
}
