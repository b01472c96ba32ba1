//! What was taught about junk, for people.

use crate::reply::LessonsDetail;

pub fn show(lessons: &LessonsDetail) -> String {
    let LessonsDetail {
        junk, good, words, ..
    } = lessons;
    let count = match lessons.suffice {
        true => "the words count when mail is judged",
        false => "that is too little for the words to count",
    };
    format!("messages of junk: {junk}\nmessages of good mail: {good}\nwords: {words}\n{count}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lessons_are_counts_and_whether_they_count() {
        let mut lessons = LessonsDetail {
            junk: 12,
            good: 3,
            words: 840,
            suffice: false,
        };
        let text = show(&lessons);
        for words in ["of junk: 12", "good mail: 3", "words: 840", "too little"] {
            assert!(text.contains(words), "{words} in {text}");
        }
        lessons.suffice = true;
        assert!(show(&lessons).ends_with("the words count when mail is judged"));
    }
}
