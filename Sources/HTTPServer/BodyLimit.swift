import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// A request body that throws 413 when more comes than its path may have.
struct LimitedBody: AsyncSequence, Sendable {
    typealias Element = ByteBuffer

    let body: RequestBody
    let limit: Int

    struct AsyncIterator: AsyncIteratorProtocol {
        var iterator: RequestBody.AsyncIterator
        var left: Int

        @concurrent mutating func next() async throws -> ByteBuffer? {
            guard let part = try await iterator.next() else { return nil }
            left -= part.readableBytes
            guard left >= 0 else { throw HTTPError(.contentTooLarge, message: "the body of the request is too long") }
            return part
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(iterator: body.makeAsyncIterator(), left: limit) }
}
