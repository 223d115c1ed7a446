import JOSEEncryption
import JOSESignature
import Testing

/// What everybody on the way can read of a wrapped string.
enum JWEHeader {
    static func kid(of text: [UInt8]) throws -> String { try #require(try JWE.parse(text).header.kid) }
}
