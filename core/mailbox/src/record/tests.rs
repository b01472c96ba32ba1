mod bytes;
mod life;
mod replay;
