internal import CStemmer

/// One algorithm of libstemmer 2.2.0 (Snowball), which is linked into the program.
///
/// Holds a buffer of the library: one thread at a time.
@safe
package final class SnowballStemmer {
    private let stemmer: OpaquePointer

    /// Nil if the library has no such algorithm, such as `english`.
    package init?(algorithm: String) {
        guard let stemmer = unsafe sb_stemmer_new(algorithm, "UTF_8") else { return nil }
        unsafe self.stemmer = stemmer
    }

    deinit { unsafe sb_stemmer_delete(stemmer) }

    /// The stem of a word in lower case and UTF-8.
    package func stem(_ word: [UInt8]) -> [UInt8] {
        guard let stem = unsafe sb_stemmer_stem(stemmer, word, Int32(word.count)) else {
            fatalError("out of memory: a stem")
        }
        let count = unsafe Int(sb_stemmer_length(stemmer))
        return unsafe Array(UnsafeBufferPointer(start: stem, count: count))
    }
}
